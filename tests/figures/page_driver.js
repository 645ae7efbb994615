// Drives the viewer of a report, and measures the layout of the page in both themes. See test_episode_viewer.py.
"use strict";
{
const say = (name, value) => { document.documentElement.dataset[name] = value; };
const viewer = document.querySelector("[data-viewer]"), part = (name) => viewer.querySelector(`[data-part="${name}"]`);
const data = viewer.dataset, root = document.documentElement;
const move = (position) => { part("time").value = position; part("time").dispatchEvent(new Event("input")); };
const pick = (arm) => [...part("arms").children].find((button) => button.textContent.startsWith(arm)).click();
const picture = () => {
  const canvas = part("picture"), small = document.createElement("canvas");
  small.width = small.height = 128;
  const pen = small.getContext("2d");
  pen.fillStyle = getComputedStyle(canvas).backgroundColor; pen.fillRect(0, 0, 128, 128);
  pen.imageSmoothingQuality = "high"; pen.drawImage(canvas, 0, 0, 128, 128);
  return small.toDataURL("image/png");
};
const light = (colour) => {
  const [r, g, b] = colour.match(/[\d.]+/g).map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (colour !== "rgba(0, 0, 0, 0)") return colour;
  }
};
const contrast = (element) => {
  const [a, b] = [getComputedStyle(element).color, ground(element)].map(light).sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
};
const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1.5 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;
const faults = () => {
  const found = [], boxes = (elements) => [...elements].map((one) => [one, one.getBoundingClientRect()]).filter(([, box]) => box.width);
  for (const svg of document.querySelectorAll("svg.chart")) {
    const frame = svg.getBoundingClientRect(), texts = boxes(svg.querySelectorAll("text"));
    for (const [one, box] of texts) {
      const inside = box.left >= frame.left && box.right <= frame.right + 1 && box.top >= frame.top - 1 && box.bottom <= frame.bottom + 1;
      if (!inside) found.push(`cut off: ${one.textContent}`);
      for (const [other, its] of texts) if (one !== other && meet(box, its)) found.push(`overlap: ${one.textContent}, ${other.textContent}`);
    }
  }
  const names = ["cell", "arms", "picture", "planning", "execution", "time", "play", "now", "outcome", "distances"];
  const parts = boxes(names.map(part));
  for (const [one, box] of parts) {
    if (one !== part("distances") && (box.left < 0 || box.right > innerWidth)) found.push(`outside: ${one.dataset.part}`);
    for (const [other, its] of parts) if (one !== other && meet(box, its)) found.push(`overlap: ${one.dataset.part}, ${other.dataset.part}`);
  }
  for (const box of document.querySelectorAll(".scroll")) {
    const wide = box.scrollWidth > box.clientWidth + 1, told = getComputedStyle(box.nextElementSibling).display !== "none";
    if (wide !== told) found.push(`hint: ${wide} ${told}`);
  }
  for (const element of document.querySelectorAll("p, td, td small, th, button:enabled, output, h1, h2, h3, strong")) {
    if (element.getClientRects().length && contrast(element) < 4.5) found.push(`contrast ${contrast(element)}: ${element.textContent}`);
  }
  if (root.scrollWidth > innerWidth) found.push("the page is wider than the window");
  return found;
};
(async () => {
  const settled = () => new Promise((done) => setTimeout(done, 50));
  await settled();
  const faulty = [], pictures = {}, themes = [];
  say("before", [data.shown, data.iteration, data.step, data.arm]);
  say("solved", part("outcome").textContent);
  for (let k = 0; k < 2; k++) {
    themes.push(root.dataset.theme);
    faulty.push(...faults());
    move(10); pictures[`${root.dataset.theme} planning`] = picture();
    move(Number(data.half) + 7); pictures[`${root.dataset.theme} execution`] = picture();
    document.getElementById("theme").click();
  }
  say("themes", themes); say("faults", JSON.stringify(faulty)); say("pictures", JSON.stringify(pictures));
  say("hints", [...document.querySelectorAll(".scroll[data-wide]")].length);
  move(10); say("planning", [data.shown, data.iteration, part("now").value]);
  move(Number(data.half) + 7); say("execution", [data.shown, data.step, part("now").value]);
  part("planning").click(); say("switched", data.shown + part("planning").ariaPressed + part("execution").ariaPressed);
  part("play").click(); say("play", part("play").textContent);
  await new Promise((done) => setTimeout(done, 400));
  say("played", data.shown === "planning" && Number(part("time").value) > 0);
  pick("CEM"); say("cem", part("outcome").textContent); pick("GD"); say("gd", part("outcome").textContent);
  say("missed", [...viewer.querySelectorAll("td.missed")].map((cell) => cell.textContent));
  pick("iCEM"); move(0);
  say("undecoded", [data.shown, data.step, part("planning").disabled, part("now").value]); say("icem", part("outcome").textContent);
  say("done", "yes");
})().catch((error) => say("fault", String(error)));
}
