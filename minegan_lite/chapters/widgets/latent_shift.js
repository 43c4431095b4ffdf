// Draws the traits of Picture (latent_shift.py), with the help of live.js, and asks no server for anything.
const WIDTH = 400, HEIGHT = 300, MARGIN = 24; // of the plane, in the SVG's own units

// One scale for both directions: lengths and angles in the picture are those in the plane.
function scaled([left, bottom, right, top]) {
  const scale = Math.min((WIDTH - 2 * MARGIN) / (right - left), (HEIGHT - 2 * MARGIN) / (top - bottom));
  return ([x, y, x2, y2]) => [
    WIDTH / 2 + scale * (x - (left + right) / 2), HEIGHT / 2 - scale * (y - (bottom + top) / 2),
    WIDTH / 2 + scale * (x2 - (left + right) / 2), HEIGHT / 2 - scale * (y2 - (bottom + top) / 2),
  ];
}

function drawArrow(parent, [x1, y1, x2, y2], size) {
  add(parent, "line", { x1, y1, x2, y2 });
  add(parent, "circle", { cx: x1, cy: y1, r: 0.4 * size });
  const turn = Math.atan2(y2 - y1, x2 - x1) * 180 / Math.PI;
  add(parent, "path", { d: `M0 0L${-size} ${-0.4 * size}V${0.4 * size}Z`, transform: `translate(${x2} ${y2}) rotate(${turn})` });
}

function render({ model, el }) {
  const root = add(el, "div", { class: "latent-shift-picture" });
  const figures = add(root, "div", { class: "latent-shift-images", "aria-live": "polite" });
  const pairs = ["G(u)", "G(M(u))"].map((name) => {
    const figure = add(figures, "figure");
    return [add(figure, "img", { alt: `the image ${name}` }), add(figure, "figcaption")];
  });
  const svg = add(root, "svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img",
    "aria-label": "Arrows from u to M(u), for fixed draws and, stronger, for the current u",
  });
  const fixed = add(svg, "g", { class: "latent-shift-fixed" });
  const current = add(svg, "g", { class: "latent-shift-current" });
  add(svg, "text", { x: WIDTH / 2, y: HEIGHT - 4, "text-anchor": "middle" }, "first principal direction of M(u)");
  add(svg, "text", { x: 12, y: HEIGHT / 2, transform: `rotate(-90 12 ${HEIGHT / 2})`, "text-anchor": "middle" }, "second");
  const key = add(svg, "text", { x: WIDTH - 4, y: 14, "text-anchor": "end" });
  add(key, "tspan", {}, "● u → M(u) ");
  add(key, "tspan", { class: "latent-shift-z" }, "▶");
  const numbers = add(root, "div", { class: "latent-shift-lines", "aria-live": "polite" });

  return follow(model, (shown) => {
    pairs.forEach(([image, caption], i) => {
      image.src = shown.images[i];
      caption.textContent = shown.captions[i];
    });
    const place = scaled(shown.bounds);
    fixed.replaceChildren();
    current.replaceChildren();
    for (const arrow of model.get("arrows")) drawArrow(fixed, place(arrow), 6);
    drawArrow(current, place(shown.current), 13);
    numbers.replaceChildren();
    for (const line of shown.lines) add(numbers, "p", {}, line);
  });
}

export default { render };
