const SVG = "http://www.w3.org/2000/svg";
const REST = 500; // ms without a change after which a picture has come to rest

function add(parent, name, attributes = {}, text = "") {
  const node = parent.namespaceURI === SVG || name === "svg"
    ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.textContent = text;
  parent.appendChild(node);
  return node;
}

// Calls `show` with the trait `shown` now and at each change; gives what ends it.
function follow(model, show) {
  let timer;
  const changed = () => {
    show(model.get("shown"));
    clearTimeout(timer);
    timer = setTimeout(() => model.send({ rest: true }), REST); // Python then renews the stored picture
  };
  show(model.get("shown"));
  model.on("change:shown", changed);
  return () => {
    clearTimeout(timer);
    model.off("change:shown", changed);
  };
}
