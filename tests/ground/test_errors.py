import pytest

from ganvas.ground.errors import UserError, unknown


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("vea", "unknown recipe 'vea'. Did you mean 'vae'? Known: dcgan, gan, vae."),
        ("dcgn", "unknown recipe 'dcgn'. Did you mean 'dcgan'? Known: dcgan, gan, vae."),
        ("diffusion", "unknown recipe 'diffusion'. Known: dcgan, gan, vae."),
        ("", "unknown recipe ''. Known: dcgan, gan, vae."),
    ],
)
def test_an_unknown_name_gets_the_nearest_and_all_the_known_ones(value: str, says: str) -> None:
    error = unknown("recipe", value, iter(["vae", "gan", "dcgan"]))
    assert isinstance(error, UserError) and str(error) == says


def test_a_user_error_is_a_value_error() -> None:
    assert issubclass(UserError, ValueError)
