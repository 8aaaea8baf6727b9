// Text of the exported page's frame.

export const words = {
  title: (name: string) => `${name} · ganvas`,
  name: "ganvas",
  loading: "Loading the model …",
  missing: (name: string, status: number) => `${name} is not there (status ${status}): the folder must be copied as a whole.`,
  worker: "This browser can't run the model: it starts no worker, or knows no WebAssembly.",
  local: "Runs in this browser",
};
