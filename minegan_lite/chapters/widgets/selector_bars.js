// Draws the trait of Picture (selector_bars.py), with the help of live.js, and asks no server for anything.
const FINE = 64; // an image of more pixels across is not shown pixel by pixel

function addBar(parent, [name, share, truth, mark, length]) {
  const row = add(parent, "tr");
  add(row, "th", { scope: "row" }, name);
  const svg = add(add(row, "td"), "svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": true });
  add(svg, "rect", { width: 100 * length, height: 10 });
  if (mark !== null) add(svg, "line", { x1: 100 * mark, x2: 100 * mark, y1: 0, y2: 10 });
  add(row, "td", {}, share);
  if (mark !== null) add(row, "td", {}, truth);
}

function addHead(parent, ticks, truth) {
  const row = add(parent, "tr");
  add(row, "th", { scope: "col" }, "source");
  const axis = add(add(row, "td"), "div", { class: "selector-bars-axis", "aria-hidden": true });
  for (const tick of ticks) add(axis, "span", {}, tick);
  add(row, "th", { scope: "col" }, "p");
  if (truth) add(row, "th", { scope: "col" }, "┃ true");
}

function addFigure(parent, { image, name, note, winner }) {
  const figure = add(parent, "figure", winner ? { class: "selector-bars-winner" } : {});
  const picture = add(figure, "img", { alt: `image of ${name}` });
  picture.onload = () => picture.classList.toggle("selector-bars-fine", picture.naturalWidth > FINE);
  picture.src = image;
  const caption = add(figure, "figcaption");
  add(caption, "span", {}, name);
  add(caption, "span", {}, note);
}

function render({ model, el }) {
  const root = add(el, "div", { class: "selector-bars-picture" });
  const line = add(root, "p", { "aria-live": "polite" });
  const table = add(root, "table", { "aria-label": "how often each source is sampled" });
  const images = add(root, "div", { class: "selector-bars-images" });
  return follow(model, (shown) => {
    line.textContent = shown.line;
    table.replaceChildren();
    if (shown.rows.length) addHead(table, shown.ticks, shown.rows[0][3] !== null);
    for (const row of shown.rows) addBar(table, row);
    table.hidden = !shown.rows.length;
    images.replaceChildren();
    for (const figure of shown.figures) addFigure(images, figure);
  });
}

export default { render };
