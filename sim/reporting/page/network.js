// Peers as points, weights above a threshold as arrows. Positions of points are in the data (network_picture.py).

const NETWORK_SIDE = 120, NETWORK_ABOVE = 36; // room for names, in pixels
const NETWORK_CROWD = 150; // most arrows at the first threshold; more cannot be told apart

function networkView(show) {
  let run, top, width = 0, height = 0, kinds = [], chosen = null;
  const place = $("network");
  const slider = $("threshold");
  slider.addEventListener("input", update);
  new ResizeObserver(() => { if (run && Math.abs(place.clientWidth - width) > 2) update(); }).observe(place);

  function begin(next) {
    run = next;
    top = largest(run, false);
    chosen = null;
    slider.step = top < 0.2 ? 0.1 : 0.5;
    slider.max = Math.max(1, Math.ceil(100 * top));
    // Start at half of an equal share, or higher where too many arrows would be left.
    slider.value = Math.min(slider.max, Math.max(50 / run.peers.length, 100 * crowd()));
    // Category and device are named only where peers differ in them.
    const differ = (key) => new Set(run.peers.map((peer) => peer[key])).size > 1;
    const told = ["category", "device"].filter(differ);
    kinds = run.peers.map((peer) => told.map((key) => peer[key]).filter(Boolean).join(", "));
  }

  /** The weight that at most NETWORK_CROWD weights of the last round exceed. */
  function crowd() {
    const last = run.peers.flatMap((peer) => peer.series.seen.slice(-1).flatMap((seen) => seen.map((one) => one[1] || 0)));
    return last.sort((a, b) => b - a)[NETWORK_CROWD] || 0;
  }

  const point = (index) => {
    const [x, y] = run.peers[index].place;
    const side = Math.min(NETWORK_SIDE, width * 0.3);
    return [side + x * (width - 2 * side), NETWORK_ABOVE + y * (height - 2 * NETWORK_ABOVE)];
  };
  const radius = () => (run.peers.length > 30 ? 6 : 11);

  function update() {
    const threshold = Number(slider.value) / 100;
    width = Math.max(280, place.clientWidth);
    height = Math.min(480, Math.max(300, width * 0.7));
    let edges = 0, shown = 0;
    const lines = svg("g", {}), nodes = svg("g", {});
    run.peers.forEach((peer, i) => {
      const k = at(peer, show.round);
      if (k < 0) return;
      for (const one of peer.series.seen[k]) {
        if (!(one[1] > 0)) continue;
        edges++;
        if (one[1] <= threshold) continue;
        shown++;
        lines.append(arrow(one[0], i, one[1]));
      }
    });
    run.peers.forEach((_, index) => nodes.append(node(index)));
    place.replaceChildren(svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Network of trust at round " + show.round }, lines, nodes));
    $("threshold-text").textContent = `${Number(slider.value).toFixed(1)} %: ${shown} of ${plural(edges, "weight")}`;
    light(chosen);
  }

  /** A bow to one side, so that two directions stay apart; it ends at the rim of the learner's point. */
  function arrow(from, to, weight) {
    const [x1, y1] = point(from), [x2, y2] = point(to);
    const dx = x2 - x1, dy = y2 - y1, length = Math.hypot(dx, dy) || 1;
    const stroke = 0.8 + 5.5 * Math.sqrt(weight / top);
    const bend = 0.14, cx = (x1 + x2) / 2 - dy * bend, cy = (y1 + y2) / 2 + dx * bend;
    const ex = x2 - cx, ey = y2 - cy, reach = Math.hypot(ex, ey) || 1, ux = ex / reach, uy = ey / reach;
    const gap = radius() + 2, size = 3 + stroke * 1.3;
    const tx = x2 - ux * gap, ty = y2 - uy * gap, bx = tx - ux * size, by = ty - uy * size, wing = size * 0.55;
    const opacity = (0.25 + 0.6 * Math.sqrt(weight / top)).toFixed(2);
    const path = `M${x1.toFixed(1)} ${y1.toFixed(1)}Q${cx.toFixed(1)} ${cy.toFixed(1)} ${bx.toFixed(1)} ${by.toFixed(1)}`;
    const head = `M${tx.toFixed(1)} ${ty.toFixed(1)}L${(bx - uy * wing).toFixed(1)} ${(by + ux * wing).toFixed(1)}L${(bx + uy * wing).toFixed(1)} ${(by - ux * wing).toFixed(1)}Z`;
    const text = run.peers[to].label + " takes " + percent(weight) + " from " + run.peers[from].label;
    return svg("g", { class: "link", opacity: length > 1 ? opacity : 0, "data-from": from, "data-to": to },
      svg("title", {}, text), svg("path", { class: "edge", d: path, "stroke-width": stroke.toFixed(2) }), svg("path", { class: "arrow", d: head }));
  }

  function node(index) {
    const peer = run.peers[index], [x, y] = point(index), k = at(peer, show.round), r = radius();
    const row = k < 0 ? [] : peer.series.seen[k].filter((one) => one[1] > 0).sort((a, b) => b[1] - a[1]);
    const from = row.slice(0, 5).map((one) => percent(one[1]) + " from " + run.peers[one[0]].label).join(", ");
    const about = peer.label + (kinds[index] ? " (" + kinds[index] + ")" : "") + (from ? ": takes " + from : "");
    const right = x >= middle(index);
    const group = svg("g", { class: "node " + colour(index), tabindex: "0", role: "img", "aria-label": about, "data-node": index },
      svg("title", {}, about), svg("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r }));
    if (run.peers.length <= 40) {
      const text = peer.label + (kinds[index] && width > 500 ? " · " + kinds[index] : "");
      group.append(svg("text", { x: (x + (right ? r + 5 : -r - 5)).toFixed(1), y: (y + 4.5).toFixed(1), "text-anchor": right ? "start" : "end" }, text));
    }
    for (const [event, which] of [["mouseenter", index], ["focus", index], ["mouseleave", null], ["blur", null]])
      group.addEventListener(event, () => light(which));
    return group;
  }

  /** Where those are whom it is tied to, by weight: its name stands on the other side. */
  function middle(index) {
    let sum = 0, whole = 0;
    run.peers.forEach((peer, i) => {
      const k = at(peer, show.round);
      for (const one of k < 0 ? [] : peer.series.seen[k]) {
        if ((i !== index && one[0] !== index) || !(one[1] > 0)) continue;
        sum += one[1] * point(i === index ? one[0] : i)[0];
        whole += one[1];
      }
    });
    return whole > 0 ? sum / whole : width / 2;
  }

  /** Only what the peer takes and gives; all for null. */
  function light(index) {
    chosen = index;
    for (const link of place.querySelectorAll(".link")) {
      const mine = Number(link.dataset.from) === index || Number(link.dataset.to) === index;
      link.classList.toggle("faint", index !== null && !mine);
      link.classList.toggle("strong", index !== null && mine);
    }
  }

  return { begin, update };
}
