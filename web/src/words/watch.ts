// Text of the page Watch, and of every figure that a run writes down.

import type { Summary } from "../types";

/** A chart: `lines` are the fields that it shows (without their split), each with its name where there are several. */
export interface ChartWords {
  title: string;
  what: string;
  lines: Record<string, string>;
}

export const splits: Record<string, string> = { train: "training", validation: "validation", test: "test", watch: "watch" };

export const groups: { title: string; charts: ChartWords[] }[] = [
  {
    title: "Loss",
    charts: [
      { title: "Loss", what: "What training makes small: a mean over the images.", lines: { loss: "" } },
      { title: "ELBO", what: "The lower bound of log p(x), in nats an image: the larger, the better.", lines: { elbo: "" } },
      { title: "Supervised part", what: "The loss of the labelled images.", lines: { supervised: "" } },
      { title: "Unsupervised part", what: "The loss of the images without labels, and of fakes.", lines: { unsupervised: "" } },
      { title: "Classification error", what: "Share of images put in a wrong class.", lines: { error: "" } },
    ],
  },
  {
    title: "Rate and distortion",
    charts: [
      { title: "Distortion", what: "Reconstruction, −log p(x | z), in nats an image: what of the image is lost.", lines: { reconstruction: "" } },
      { title: "Rate", what: "KL(Q(z | x) ‖ P(z)), in nats an image: what the code says of the image.", lines: { kl: "" } },
    ],
  },
  {
    title: "The two players",
    charts: [
      { title: "Losses of D and G", what: "Each player's own. They do not fall together: one player's gain is the other's loss.", lines: { "discriminator/loss": "D", "generator/loss": "G" } },
      { title: "Scores of D", what: "D's mean answer for real images and for fakes. Where both are equal, D can't tell them apart.", lines: { "discriminator/real": "D(x), real", "discriminator/fake": "D(G(z)), fake" } },
      { title: "Wasserstein estimate", what: "The critic's mean for real images less that for fakes: it falls as the fakes come nearer.", lines: { "discriminator/wasserstein": "" } },
      { title: "Scores of D on unseen images", what: "The same for held-out images and fakes, by the watch.", lines: { discriminator_held_out: "D(x), held out", discriminator_fake: "D(G(z)), fake" } },
      { title: "How well D tells", what: "Probability that D ranks a held-out image over a fake, and a training image over a held-out one (memorising). ½ is chance.", lines: { separation: "unseen/fake", overfitting: "seen/unseen" } },
      { title: "Size of D's logits", what: "Median over held-out images and fakes.", lines: { logit_scale: "" } },
    ],
  },
  {
    title: "Gradients",
    charts: [
      { title: "Gradient norms", what: "By one fake image: of G's loss, which G learns from, and of D's logit.", lines: { generator_gradient: "G's loss", slope: "D's logit" } },
      { title: "Gradient passed on", what: "Share of D's slope that G's loss passes on to G. Near 0, G is told almost nothing.", lines: { gradient_share: "" } },
      { title: "Weights at the clip", what: "Share of the critic's weights that clipping holds back.", lines: { clipped_share: "" } },
    ],
  },
  {
    title: "The code",
    charts: [
      { title: "Active units", what: "Latent dimensions whose mean varies from image to image.", lines: { active_units: "" } },
      { title: "Unused dimensions", what: "Share of latent dimensions that carry less than 0.01 nats.", lines: { unused_dimensions: "" } },
      { title: "Mutual information", what: "I(x; z) in nats, at most the logarithm of the number of images looked at.", lines: { mutual_information: "" } },
      { title: "All codes against the prior", what: "KL(Q(z) ‖ P(z)) in nats a dimension. Large: samples come from where no image lies.", lines: { aggregate_kl: "" } },
    ],
  },
  {
    title: "Reconstructions",
    charts: [
      { title: "Variance explained", what: "Share that reconstructions explain: 1 is perfect, 0 is the mean image. A gap is memorising.", lines: { explained_train: "training", explained_held_out: "held out" } },
    ],
  },
  {
    title: "Samples",
    charts: [
      { title: "Recall and coverage", what: "Share of held-out images within the samples' reach, and share with a sample in reach.", lines: { recall: "recall", coverage: "coverage" } },
      { title: "Spread", what: "How far apart samples lie, over how far apart training images lie. Near 0: all alike.", lines: { spread: "" } },
      { title: "Missing classes", what: "Share of the classes that samples lack.", lines: { missing_classes: "" } },
      { title: "Distance to training images", what: "From a sample to the nearest one, over the same from held-out images. Near 0: copies.", lines: { sample_distance: "" } },
      { title: "Samples told from reconstructions", what: "How often a nearest neighbour tells which is which. ½ is chance.", lines: { told_from_reconstructions: "" } },
      { title: "Labels that are heard", what: "How often a sample is nearest to images of what was told: 1 as images are, 0 by chance.", lines: { told_heard: "" } },
      { title: "Spread of one label", what: "How far apart samples of a label lie, over its training images; the least of all labels. Near 0: all alike.", lines: { told_spread: "" } },
    ],
  },
];

/** Of figures that no chart above knows, such as a technique's term. */
export const others = {
  title: "More",
  terms: "Terms of the techniques",
  term: "Added to this player's loss.",
  players: { discriminator: "D", generator: "G" } as Record<string, string>,
};
export const speed: { title: string; charts: ChartWords[] } = {
  title: "Speed",
  charts: [{ title: "Images a second", what: "Of training, without validation and pictures.", lines: { images_per_second: "" } }],
};
/** Figures that are not worth a chart. */
export const unshown = new Set(["seconds", "told_least"]);

const images = ({ shape }: Summary) => shape.length === 3;
const can = (...needed: string[]) => (summary: Summary) => needed.every((verb) => summary.verbs.includes(verb));

/** A word as a shell takes it. */
const quoted = (word: string) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`);

/** What verbs of the command line make of a run, those that its model has. */
const verbs: { when: (summary: Summary) => boolean; what: string; command: (run: string, summary: Summary) => string }[] = [
  { when: can("sample"), what: "New ones, as a picture", command: (run) => `ganvas sample ${run} -n 64` },
  { when: (it) => images(it) && can("reconstruct")(it), what: "Unseen images, and what the model makes of them", command: (run) => `ganvas reconstruct ${run}` },
  { when: (it) => images(it) && can("denoise")(it), what: "Image files without their noise", command: (run) => `ganvas denoise ${run} scan.png` },
  { when: (it) => images(it) && can("complete")(it), what: "What is missing in an image, filled in", command: (run) => `ganvas complete ${run} photo.png --mask bottom` },
  { when: can("score_samples"), what: "What does not belong, as a page", command: (run, it) => `ganvas score ${run} --data ${images(it) ? "./photos" : "./rows.npy"}` },
  { when: can("encode"), what: "Groups of images, as a page", command: (run) => `ganvas cluster ${run}` },
  { when: (it) => images(it) && can("encode")(it), what: "Images that are most like one of yours", command: (run) => `ganvas similar ${run} photo.png` },
  { when: (it) => images(it) && can("encode")(it), what: "Images that are there more than once", command: (run) => `ganvas duplicates ${run}` },
  { when: (it) => images(it) && can("decode")(it), what: "Images on a plane of codes", command: (run, it) => `ganvas manifold ${run}${it.latent === 2 ? "" : it.verbs.includes("sample") ? " --points 0 1 2" : " --points test:0 test:1 test:2"}` },
  { when: (it) => images(it) && can("decode")(it), what: "Images on the way between two", command: (run) => `ganvas interpolate ${run}` },
  { when: (it) => images(it) && can("decode")(it), what: "Arithmetic with labels, A − B + C", command: (run) => `ganvas arithmetic ${run} -a NAME=VALUE -b NAME=VALUE -c NAME=VALUE` },
  { when: (it) => images(it) && can("decode")(it), what: "Images moved along a label", command: (run) => `ganvas turn ${run}` },
  { when: (it) => images(it) && can("sample")(it), what: "Samples beside their nearest training images", command: (run) => `ganvas neighbours ${run}` },
  { when: can("encode"), what: "Codes, as a file", command: (run) => `ganvas encode ${run} --out features.npz` },
  { when: (it) => can("encode")(it) && !can("sample")(it), what: "A P(z), for samples", command: (run) => `ganvas fit-prior ${run}` },
  { when: (it) => images(it) && can("decode", "sample")(it) && !can("encode")(it), what: "An encoder, for codes of images", command: (run) => `ganvas fit-encoder ${run}` },
  { when: () => true, what: "How good the model is", command: (run) => `ganvas evaluate ${run}` },
  { when: (it) => images(it) && can("decode")(it), what: "The page Explore, for any web server", command: (run) => `ganvas export ${run} --html` },
  { when: () => true, what: "ONNX files", command: (run) => `ganvas export ${run} --onnx` },
  { when: () => true, what: "Better settings, by many short trainings", command: (_, it) => `ganvas tune ${it.recipe} --data ${quoted(it.data)}` },
];

export const watch = {
  verbs,
  made: "Made from this run",
  search: (folder: string) => `This run is a trial of the search in ${folder}; tune.md there says what it found.`,
  searchPicture: "What each setting does, by all trials of the search",
  madeNone: "Nothing yet: the commands below make pictures and pages, which are then listed here.",
  makes: "Commands that make more of it",
  madePage: "page",
  madePicture: "picture",
  newTab: "opens in a new tab",
  choose: "Run",
  none: "There is no run to watch yet. Train one:",
  bad: "This folder can't be read as a run.",
  failed: (why: string) => (why ? `The training stopped: ${why}` : "The training stopped with an error."),
  explore: "Explore this run",
  compare: "Compare",
  step: "Step",
  epoch: "Epoch",
  of: (now: string, all: string) => `${now} of ${all}`,
  time: "Time",
  speed: "Images a second",
  recipe: "Recipe",
  data: "Data",
  images: "Images",
  points: "Points",
  latent: "Code",
  dimensions: (n: number) => (n === 1 ? "1 dimension" : `${n} dimensions`),
  seed: "Seed",
  begun: "Started",
  findings: "Findings of the watch",
  healthy: "The watch has found nothing wrong.",
  unwatched: "The watch has not looked yet.",
  since: (step: number) => `since step ${step.toLocaleString("en")}`,
  range: (text: string) => `healthy: ${text}`,
  remedy: "Try",
  samples: "Samples",
  reconstructions: "Reconstructions",
  reconstructionsWhat: "A row of unseen images, and below it what the model makes of them; a denoiser has the noisy ones between.",
  samplesWhat: "From the same codes each time.",
  when: "Training time",
  epochOf: (epoch: number, epochs: number) => `epoch ${epoch} of ${epochs}`,
  picture: (kind: string, epoch: number) => `${kind} after epoch ${epoch}`,
  noPictures: "Pictures come after the first epoch.",
  play: "Play",
  pause: "Pause",
  newest: "Newest",
  curves: "Curves",
  noCurves: "Figures come with the first steps.",
  settings: "Settings",
  setting: "Setting",
  value: "Value",
  curvesFailed: (why: string) => `The curves could not be read: ${why}`,
  nowFinding: (name: string) => `The watch found: ${name}.`,
};
