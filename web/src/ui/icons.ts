// Small drawings for buttons, in the colour of their text.

const PATHS = {
  auto: "M12 3a9 9 0 1 0 0 18a9 9 0 0 0 0-18z M12 3v18 M12 7l6-1 M12 12h9 M12 17l6 1",
  light: "M12 8a4 4 0 1 0 0 8a4 4 0 0 0 0-8z M12 2v2 M12 20v2 M2 12h2 M20 12h2 M5 5l1.4 1.4 M17.6 17.6L19 19 M5 19l1.4-1.4 M17.6 6.4L19 5",
  dark: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
  keys: "M3 6h18v12H3z M7 10h.01 M11 10h.01 M15 10h.01 M17 14h.01 M7 14h.01 M10 14h4",
  play: "M7 4.5v15l12-7.5z",
  pause: "M8 5v14 M16 5v14",
  copy: "M9 9h11v11H9z M5 15H4V4h11v1",
  close: "M6 6l12 12 M18 6L6 18",
  page: "M6 3h8l5 5v13H6z M14 3v5h5 M9 13h7 M9 17h5",
  compare: "M4 19V5 M4 19h16 M7 15l4-5 3 3 5-7",
};

export function icon(name: keyof typeof PATHS): SVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": "2", "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true" })) svg.setAttribute(key, value);
  const path = document.createElementNS(svg.namespaceURI, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}
