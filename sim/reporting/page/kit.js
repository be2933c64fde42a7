// Functions that every view of the page uses: making elements, numbers as text, and describing a row.
// Names come from strangers, so they are only ever written through textContent.

const SVG = "http://www.w3.org/2000/svg";
const LEVELS = 20; // classes w1 to w20
const COLOURS = 9; // classes c0 to c8

const $ = (id) => document.getElementById(id);

function filled(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    node.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children) if (child !== null) node.append(child);
  return node;
}
const el = (tag, attributes, ...children) => filled(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);

const known = (value) => typeof value === "number";
const fixed = (value, places) => (known(value) ? value.toFixed(places) : "?");
const signed = (value, places) => (known(value) ? (value > 0 ? "+" : "") + value.toFixed(places) : "?");
const percent = (weight) => (known(weight) ? (100 * weight).toFixed(1) + " %" : "unknown");
const short = (weight) => (!known(weight) ? "?" : !(weight > 0) ? "·" : weight < 0.005 ? "<1" : (100 * weight).toFixed(0));
const significant = (value) => (known(value) ? String(Number(value.toPrecision(3))) : "?");
function bytes(count) {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]])
    if (count >= size) return (count / size).toFixed(1) + " " + unit;
  return count + " B";
}
const plural = (count, what) => count + " " + what + (count === 1 ? "" : "s");
const label = (peer) => el("bdi", {}, peer.label);
const called = (peer) => el("bdi", {}, peer.name || peer.peer);
const colour = (index) => "c" + (index % COLOURS);

/** The colour class of a weight: the square root keeps 1 % and 3 % apart beside 50 %. */
const level = (weight, top) =>
  weight > 0 ? "w" + Math.max(1, Math.ceil(Math.sqrt(Math.min(weight / top, 1)) * LEVELS)) : "none";

/** Where in a peer's series its row at `round` is: the last one not after it, -1 before its first. */
function at(peer, round) {
  const rounds = peer.series.rounds;
  let low = 0, high = rounds.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rounds[middle] <= round) low = middle + 1; else high = middle;
  }
  return low - 1;
}

/** What peer `i` takes from each peer by the row at place `k` of its series. */
function weights(run, i, k) {
  const row = new Array(run.peers.length).fill(0);
  for (const one of run.peers[i].series.seen[k]) row[one[0]] = one[1];
  row[i] = run.peers[i].series.self_weight[k];
  return row;
}

const effective = (row) => {
  const square = row.reduce((sum, weight) => sum + weight * weight, 0);
  return square > 0 ? 1 / square : null;
};

/** The largest weight of a run: one scale for all its rounds, so that colours can be compared. */
function largest(run, own) {
  let top = 0;
  for (const peer of run.peers) {
    if (own) for (const weight of peer.series.self_weight) top = Math.max(top, weight || 0);
    for (const seen of peer.series.seen) for (const one of seen) top = Math.max(top, one[1] || 0);
  }
  return top || 1;
}

/** Radio buttons side by side; `chosen` is called with the value. */
function choices(place, name, options, chosen) {
  const group = el("span", { class: "choices" });
  options.forEach(([value, text], index) => {
    const input = el("input", { type: "radio", name, value, checked: index === 0 });
    input.addEventListener("change", () => chosen(value));
    group.append(el("label", {}, input, text));
  });
  place.replaceChildren(group);
}

/** Round numbers between two values, about `count` of them. */
function ticks(low, high, count) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => power * factor >= raw * 0.999);
  const found = [];
  // Beyond 2^53 the next number is the same one: the count must end it.
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9 && found.length <= count + 1; n++) found.push(Number((n * step).toPrecision(12)));
  return found;
}
