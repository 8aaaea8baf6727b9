"""Semi-supervised GAN (Salimans et al. 2016)."""

from __future__ import annotations

from ganvas.parts.optimizers import Adam
from ganvas.recipes.base import RECIPES, Data, Recipe, Training, Turn


@RECIPES.register
def semisupervised_gan(
    labels_per_class: int = 10, classes: int = 10, unlabelled_weight: float = 1.0, latent_dim: int = 100
) -> Recipe:
    """Classifier from few labels and many images, by a GAN with feature matching (lecture row L17).

    The nets and settings of the paper's MNIST experiment, 300 epochs; there 93 of 10,000 test images are wrong. It
    differs from the released code in two things: the learning rate falls by a cosine, and the generator's batch norm
    has gains.

    Args:
        labels_per_class: examples whose label it is told
        classes: of the data set
        unlabelled_weight: of the cost that needs no labels; 0 learns from the labels alone
        latent_dim: size of z

    Example:
        ganvas train semisupervised-gan --data mnist --epochs 20
    """
    from ganvas.models.semisupervised import SemisupervisedGAN

    model = SemisupervisedGAN(
        labels_per_class=labels_per_class, classes=classes, unlabelled_weight=unlabelled_weight, latent_dim=latent_dim
    )
    turn = Turn(optimizer=Adam(lr=3e-3, betas=(0.5, 0.999), eps=1e-4))
    training = Training(turns={"discriminator": turn, "generator": turn}, epochs=300, batch_size=100, schedule="cosine")
    return Recipe(name="semisupervised-gan", data=Data(labelled=True), model=model, training=training)
