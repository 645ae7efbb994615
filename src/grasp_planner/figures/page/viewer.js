"use strict";
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const redraws = [];
  const theme = (name) => { root.dataset.theme = name; redraws.forEach((redraw) => redraw()); };
  theme(dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => theme(dark.matches ? "dark" : "light"));
  document.getElementById("theme").addEventListener("click", () => theme(root.dataset.theme === "dark" ? "light" : "dark"));

  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  // From early (violet) to late (amber).
  const TIMES = [[78, 3, 160], [156, 23, 158], [208, 61, 119], [238, 114, 81], [251, 166, 54]];
  const timeColour = (share) => {
    const at = share * (TIMES.length - 1), i = Math.min(Math.floor(at), TIMES.length - 2), rest = at - i;
    const lift = root.dataset.theme === "dark" ? 45 : 0;
    return `rgb(${TIMES[i].map((low, k) => Math.min(255, Math.round(low + rest * (TIMES[i + 1][k] - low) + lift))).join(",")})`;
  };

  class Stage {
    constructor(canvas) { this.canvas = canvas; this.pen = canvas.getContext("2d"); }
    clear(scene, view) {
      const side = Math.max(1, this.canvas.clientWidth), scale = window.devicePixelRatio || 1;
      this.canvas.width = this.canvas.height = Math.round(side * scale);
      const [left, right, bottom, top] = view;
      this.scene = scene;
      this.at = (x, y) => [(x - left) / (right - left) * side, (y - top) / (bottom - top) * side];
      this.pen.setTransform(scale, 0, 0, scale, 0, 0);
      this.pen.clearRect(0, 0, side, side);
      this.pen.lineJoin = "round";
      this.pen.fillStyle = colour("--wall");
      for (const [x, y, w, h] of scene.walls) this.polygon([[x, y], [x + w, y], [x + w, y + h], [x, y + h]], true);
    }
    polygon(points, fill) {
      this.pen.beginPath();
      points.forEach(([x, y], i) => this.pen[i ? "lineTo" : "moveTo"](...this.at(x, y)));
      this.pen.closePath();
      if (fill) this.pen.fill(); else this.pen.stroke();
    }
    outline(body, state) {
      const turn = body.angle === null ? 0 : state[body.angle], c = Math.cos(turn), s = Math.sin(turn);
      const [x, y] = body.position.map((i) => state[i]);
      return body.outline.map(([u, v]) => [x + c * u - s * v, y + s * u + c * v]);
    }
    body(body, state, edge, fill, width, dash) {
      const points = this.outline(body, state);
      this.pen.globalAlpha = fill; this.pen.fillStyle = edge; this.polygon(points, true);
      this.pen.globalAlpha = 1; this.pen.strokeStyle = edge; this.pen.lineWidth = width;
      this.pen.setLineDash(dash || []); this.polygon(points, false); this.pen.setLineDash([]);
    }
    all(state, edge, fill, width, dash) { for (const body of this.scene.bodies) this.body(body, state, edge, fill, width, dash); }
    path(states, edge, width = 2) {
      for (const body of this.scene.bodies) {
        this.pen.beginPath();
        states.forEach((state, i) => {
          const points = this.outline(body, state), n = points.length;
          const middle = points.reduce(([a, b], [x, y]) => [a + x / n, b + y / n], [0, 0]);
          this.pen[i ? "lineTo" : "moveTo"](...this.at(...middle));
        });
        this.pen.strokeStyle = edge; this.pen.lineWidth = width; this.pen.stroke();
      }
    }
  }

  const plain = (value) => value.toLocaleString("en", { maximumSignificantDigits: 3 });
  // What a planner did in an episode, by the reason of the record.
  const ENDS = {
    solved: "solved the episode",
    "search failed": "failed: the search failed",
    "model wrong": "failed: the model was wrong",
    failed: "failed",
  };

  class Viewer {
    constructor(element, content) {
      this.element = element; this.content = content;
      this.part = (name) => element.querySelector(`[data-part="${name}"]`);
      const { part } = this;
      this.stage = new Stage(part("picture"));
      this.cell = part("cell"); this.arms = part("arms"); this.time = part("time"); this.play = part("play");
      content.groups.forEach((group, i) => {
        const main = group.plans.find((plan) => plan.arm === content.main);
        const mark = main ? ` (${content.main} ${main.success ? "✓" : "✗"})` : "";
        this.cell.add(new Option(group.title + mark, i));
      });
      this.cell.addEventListener("change", () => this.choose(Number(this.cell.value)));
      this.time.addEventListener("input", () => { this.stop(); this.draw(); });
      this.play.addEventListener("click", () => (this.timer ? this.stop() : this.start()));
      part("planning").addEventListener("click", () => this.go(0));
      part("execution").addEventListener("click", () => this.go(this.half));
      addEventListener("resize", () => this.draw());
      redraws.push(() => this.draw());
      this.choose(0);
    }
    choose(i) {
      this.group = this.content.groups[i];
      this.arms.replaceChildren(...this.group.plans.map((plan, k) => {
        const button = document.createElement("button");
        button.textContent = `${plan.arm} ${plan.success ? "✓" : "✗"}`;
        button.title = `${plan.arm} ${ENDS[plan.reason]}`;
        button.addEventListener("click", () => this.show(k));
        return button;
      }));
      const main = this.group.plans.findIndex((plan) => plan.arm === this.content.main);
      this.show(main < 0 ? 0 : main);
    }
    show(k) {
      this.plan = this.group.plans[k];
      [...this.arms.children].forEach((button, i) => button.setAttribute("aria-pressed", String(i === k)));
      const { plan } = this, made = plan.recording;
      // The time line has two halves of the same length: planning, then execution.
      this.moments = made ? made.steps.length : 0;
      this.half = Math.max(this.moments, plan.executed.length);
      this.time.min = made ? 0 : this.half;
      this.time.max = 2 * this.half - 1;
      this.part("planning").disabled = !made;
      this.part("outcome").replaceChildren(
        Object.assign(document.createElement("strong"), { textContent: `${plan.arm} ${ENDS[plan.reason]}.` }),
        ` ${plan.told}`,
      );
      this.part("states").textContent = `${made && made.lifted ? "virtual states" : "states of the rollout"}, early to late`;
      this.part("distances").hidden = !plan.distances.length;
      this.part("distances").tBodies[0].replaceChildren(...plan.distances.map((one) => {
        const row = document.createElement("tr");
        const [simulator, model] = one.missed;
        const cells = [[one.quantity], [`< ${one.limit}`], [one.simulator, simulator], [one.model, model]];
        for (const [text, missed] of cells) {
          row.append(Object.assign(document.createElement("td"), { textContent: text, className: missed ? "missed" : "" }));
        }
        return row;
      }));
      this.go(Number(this.time.max));
    }
    go(position) { this.stop(); this.time.value = position; this.draw(); }
    start() {
      if (this.time.value === this.time.max) this.time.value = this.time.min;
      this.play.textContent = "Pause";
      const pace = Math.max(1, Math.round(this.half / 60));
      this.timer = setInterval(() => {
        if (this.time.value === this.time.max) return this.stop();
        this.time.value = Number(this.time.value) + pace;
        this.draw();
      }, 70);
    }
    stop() { clearInterval(this.timer); this.timer = null; this.play.textContent = "Play"; }
    // The moment of planning and the index of the executed state at the slider's position.
    place() {
      const position = Number(this.time.value), last = Math.max(1, this.half - 1);
      const planning = position < this.half;
      const share = (planning ? position : position - this.half) / last;
      return {
        planning,
        moment: planning ? Math.round(share * (this.moments - 1)) : this.moments - 1,
        index: planning ? 0 : Math.round(share * (this.plan.executed.length - 1)),
      };
    }
    draw() {
      const { plan, group, stage } = this, made = plan.recording, start = plan.executed[0];
      const { planning, moment, index } = this.place();
      stage.clear(this.content.scenes[group.env], group.view);
      stage.all(start, colour("--start"), 0.25, 1);
      if (planning) this.drawPlanning(made, moment, start); else this.drawExecution(made, moment, index);
      stage.all(group.goal, colour("--goal"), 0.07, 2, [6, 3]);
      for (const name of ["planning", "execution"]) {
        this.part(name).setAttribute("aria-pressed", String((name === "planning") === planning));
      }
      const step = plan.steps[index], last = plan.steps[plan.steps.length - 1];
      Object.assign(this.element.dataset, {
        shown: planning ? "planning" : "execution", iteration: made ? made.steps[moment] : "", step, arm: plan.arm, half: this.half,
      });
      const now = planning ? this.planned(made, moment) : `environment step ${step} of ${last}`;
      this.part("now").value = now;
      this.time.setAttribute("aria-valuetext", now);
    }
    planned(made, moment) {
      const cost = made.best_cost[moment], last = made.steps[made.steps.length - 1];
      return `planner step ${made.steps[moment]} of ${last}` + (cost === null ? "" : `, best cost ${plain(cost)}`);
    }
    drawPlanning(made, moment, start) {
      const states = made.states[moment], rollout = made.rollouts[moment];
      states.forEach((state, t) => this.stage.all(state, timeColour(t / Math.max(1, states.length - 1)), 0.12, 1.6));
      this.stage.path([start, ...rollout], colour("--plan"));
      this.stage.all(rollout[rollout.length - 1], colour("--plan"), 0.3, 1.6);
    }
    // The simulator in front, and behind it the plan in the model, at the same environment step.
    drawExecution(made, moment, index) {
      const { plan, stage } = this;
      if (made) {
        const rollout = made.rollouts[moment];
        const reached = made.at.filter((at) => at <= plan.steps[index]).length;
        stage.path([plan.executed[0], ...rollout], colour("--plan"), 1);
        if (reached) stage.all(rollout[reached - 1], colour("--plan"), 0, 1.6);
      }
      stage.path(plan.executed.slice(0, index + 1), colour("--run"));
      stage.all(plan.executed[index], colour("--run"), 0.5, 1.6);
    }
  }

  for (const element of document.querySelectorAll("[data-viewer]")) {
    new Viewer(element, JSON.parse(document.getElementById(element.dataset.viewer).textContent));
  }
  // Tables that are wider than the page say so, and mark the side on which more columns are.
  for (const box of document.querySelectorAll(".scroll")) {
    const hint = Object.assign(document.createElement("p"), { className: "hint", textContent: "Wide table: scroll it sideways →" });
    box.after(hint);
    const update = () => {
      box.toggleAttribute("data-wide", box.scrollWidth > box.clientWidth + 1);
      box.toggleAttribute("data-more", box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
      if (box.hasAttribute("data-wide")) box.tabIndex = 0; else box.removeAttribute("tabindex");
    };
    box.addEventListener("scroll", update);
    const resized = new ResizeObserver(update);
    resized.observe(box);
    resized.observe(box.firstElementChild);
    update();
  }
  root.dataset.ready = "yes";
})();
