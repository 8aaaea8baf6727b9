// Formulas: a small part of TeX, as MathML that the browser sets itself.

const NS = "http://www.w3.org/1998/Math/MathML";
const GREEK: Record<string, string> = {
  alpha: "α", beta: "β", gamma: "γ", delta: "δ", epsilon: "ε", theta: "θ", lambda: "λ", mu: "μ", sigma: "σ", phi: "φ", rho: "ρ", pi: "π", Sigma: "Σ", Phi: "Φ",
};
const SIGNS: Record<string, string> = {
  le: "≤", ge: "≥", ne: "≠", approx: "≈", sim: "∼", cdot: "·", mid: "∣", to: "→", in: "∈", times: "×", int: "∫", sum: "∑", nabla: "∇",
  "|": "‖", "{": "{", "}": "}", odot: "⊙", partial: "∂", dots: "…",
};
const LETTERS: Record<string, string> = { E: "𝔼", L: "ℒ", N: "𝒩", D: "𝒟" };
const FUNCTIONS = new Set(["log", "exp", "min", "max", "sup", "tanh", "KL", "ELBO", "data", "Tr", "GAN", "WGAN", "right", "left"]);
const SPACES: Record<string, string> = { quad: "1em", ",": "0.17em", ";": "0.3em" };
const BELOW = new Set(["min", "max", "sup", "∑"]); // what stands under or over these, not beside

/** `display` formulas stand by themselves; others in a line of text. The TeX is what a copy gives, and a label. */
export function formula(tex: string, display = false): Element {
  const root = element("math", ...new Parser(tex, display).row());
  if (display) root.setAttribute("display", "block");
  return root;
}

/** Text with formulas between dollar signs. */
export function withFormulas(text: string): Node[] {
  return text.split("$").map((part, i) => (i % 2 ? formula(part) : document.createTextNode(part)));
}

function element(name: string, ...children: (Element | string)[]): Element {
  const made = document.createElementNS(NS, name);
  made.append(...children);
  return made;
}

class Parser {
  private readonly tokens: string[];
  private at = 0;

  constructor(
    tex: string,
    private readonly display: boolean,
  ) {
    this.tokens = tex.match(/\\[a-zA-Z]+|\\.|\d+(?:\.\d+)?|\S/g) ?? [];
  }

  row(): Element[] {
    const found: Element[] = [];
    while (this.at < this.tokens.length && this.tokens[this.at] !== "}") found.push(this.scripted());
    return found;
  }

  /** What stands between braces, or the next sign alone. */
  private group(): Element {
    if (this.tokens[this.at] !== "{") return this.atom();
    this.at++;
    const found = this.row();
    this.at++;
    return found.length === 1 ? found[0]! : element("mrow", ...found);
  }

  private scripted(): Element {
    const base = this.atom();
    let low: Element | null = null;
    let high: Element | null = null;
    for (;;) {
      if (this.tokens[this.at] === "_") this.at++, (low = this.group());
      else if (this.tokens[this.at] === "^") this.at++, (high = this.group());
      else break;
    }
    const [one, other, both] = this.display && BELOW.has(base.textContent ?? "") ? ["munder", "mover", "munderover"] : ["msub", "msup", "msubsup"];
    if (low && high) return element(both!, base, low, high);
    if (low) return element(one!, base, low);
    return high ? element(other!, base, high) : base;
  }

  private atom(): Element {
    const token = this.tokens[this.at++] ?? "";
    if (/^\d/.test(token)) return element("mn", token);
    if (/^[a-zA-Z]$/.test(token)) return element("mi", token);
    if (token === "{") return this.at--, this.group();
    if (!token.startsWith("\\")) return this.sign(token);
    const name = token.slice(1);
    if (name === "frac") return element("mfrac", this.group(), this.group());
    if (name === "sqrt") return element("msqrt", this.group());
    if (name === "bar" || name === "hat") {
      const over = this.group();
      return element("mover", over, this.sign(name === "bar" ? "¯" : "^"));
    }
    if (name === "font") return element("mi", LETTERS[this.group().textContent ?? ""] ?? "");
    if (name in SPACES) {
      const space = element("mspace");
      space.setAttribute("width", SPACES[name]!);
      return space;
    }
    if (FUNCTIONS.has(name)) return this.upright(name);
    if (name in GREEK) return element("mi", GREEK[name]!);
    return this.sign(SIGNS[name] ?? name);
  }

  /** A name such as log, set upright and with room after it. */
  private upright(name: string): Element {
    const made = element(BELOW.has(name) ? "mo" : "mi", name);
    if (name === "log" || name === "exp") {
      const space = element("mspace");
      space.setAttribute("width", "0.17em");
      return element("mrow", made, space);
    }
    return made;
  }

  private sign(text: string): Element {
    const made = element("mo", text === "-" ? "−" : text);
    if ("()[]‖∣|".includes(text)) made.setAttribute("stretchy", "false");
    if ("‖".includes(text)) made.setAttribute("lspace", "0.1em"), made.setAttribute("rspace", "0.1em");
    return made;
  }
}
