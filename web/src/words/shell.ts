// Text that every page shares. All text of the page lies in this folder.

export const shell = {
  title: "ganvas studio",
  pages: { runs: "Runs", watch: "Watch", explore: "Explore", learn: "Learn" },
  skip: "Skip to the content",
  light: "Light",
  dark: "Dark",
  lost: "The studio's server does not answer. Is it still running?",
  back: "It answers again.",
};
