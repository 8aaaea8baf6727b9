// Settings to begin with, as they stand in the address: those that differ from the playground's own.

export type Settings = Record<string, string>;

const plain: Settings = { techniques: "none", prior: "normal", latent_dim: "2" };
const wgan: Settings = { loss: "wasserstein", techniques: "clip/0.1", prior: "normal", optimizer: "rmsprop", k: "5", lr_discriminator: "0.0005", lr_generator: "0.0005" };

/** Of the GAN in the plane. */
export const presets: Record<string, Settings> = {
  clusters: {},
  plain,
  minimax: { ...plain, loss: "minimax" },
  wgan,
  penalty: { loss: "wasserstein", techniques: "gradient-penalty/1", prior: "normal", k: "5", lr_discriminator: "0.001", lr_generator: "0.001" },
  hinge: { loss: "hinge", techniques: "spectral-norm/1", prior: "normal", k: "2" },
};

const technique = (techniques: string): { page: string; settings: Settings } => ({ page: "live-plane", settings: { ...plain, techniques } });
const critic = { page: "live-plane", settings: wgan };

/** What of a figure can be tried live. */
export const trials: Record<string, { page: string; settings: Settings }> = {
  "algorithm-1": { page: "live-plane", settings: presets.minimax! },
  "feature-matching": technique("feature-matching/1"),
  "minibatch-discrimination": technique("minibatch-discrimination/20"),
  "historical-averaging": technique("historical-averaging/0.1"),
  "label-smoothing": technique("label-smoothing/0.9"),
  "vanishing-gradients": { page: "live-line", settings: {} },
  "wasserstein-estimate": critic,
  "wgan-and-gan": critic,
  "without-batch-norm": critic,
  "mlp-generator": critic,
  "ring-and-grid": { page: "live-plane", settings: { data: "grid", techniques: "r1/0.03,ema/0.99" } },
};
