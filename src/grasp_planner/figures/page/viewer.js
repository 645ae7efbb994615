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
  // From early (violet) to late (amber), as in the package's other pictures.
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
    path(states, edge) {
      for (const body of this.scene.bodies) {
        this.pen.beginPath();
        states.forEach((state, i) => {
          const points = this.outline(body, state), n = points.length;
          const middle = points.reduce(([a, b], [x, y]) => [a + x / n, b + y / n], [0, 0]);
          this.pen[i ? "lineTo" : "moveTo"](...this.at(...middle));
        });
        this.pen.strokeStyle = edge; this.pen.lineWidth = 2; this.pen.stroke();
      }
    }
  }

  class Viewer {
    constructor(element, content) {
      this.element = element; this.content = content;
      const part = (name) => element.querySelector(`[data-part="${name}"]`);
      this.part = part;
      this.model = new Stage(part("model")); this.world = new Stage(part("world"));
      this.cell = part("cell"); this.arms = part("arms");
      this.iteration = part("iteration"); this.step = part("step"); this.play = part("play");
      content.groups.forEach((group, i) => {
        const main = group.plans.find((plan) => plan.arm === content.main);
        const mark = main ? ` (${content.main} ${main.success ? "✓" : "✗"})` : "";
        this.cell.add(new Option(group.title + mark, i));
      });
      this.cell.addEventListener("change", () => this.choose(Number(this.cell.value)));
      this.iteration.addEventListener("input", () => this.draw());
      this.step.addEventListener("input", () => { this.stop(); this.draw(); });
      this.play.addEventListener("click", () => (this.timer ? this.stop() : this.start()));
      addEventListener("resize", () => this.draw());
      redraws.push(() => this.draw());
      this.choose(0);
    }
    choose(i) {
      this.group = this.content.groups[i];
      this.arms.replaceChildren(...this.group.plans.map((plan, k) => {
        const button = document.createElement("button");
        button.textContent = `${plan.arm} ${plan.success ? "✓" : "✗"}`;
        button.title = plan.success ? "solved" : "failed";
        button.addEventListener("click", () => this.show(k));
        return button;
      }));
      const main = this.group.plans.findIndex((plan) => plan.arm === this.content.main);
      this.show(main < 0 ? 0 : main);
    }
    show(k) {
      this.stop();
      this.plan = this.group.plans[k];
      [...this.arms.children].forEach((button, i) => button.setAttribute("aria-pressed", String(i === k)));
      const made = this.plan.recording;
      this.iteration.disabled = !made;
      this.iteration.max = made ? made.steps.length - 1 : 0;
      this.iteration.value = this.iteration.max;
      this.step.max = this.plan.executed.length - 1;
      this.step.value = this.step.max;
      this.draw();
    }
    start() {
      if (Number(this.step.value) >= Number(this.step.max)) this.step.value = 0;
      this.play.textContent = "Pause";
      this.timer = setInterval(() => {
        if (Number(this.step.value) >= Number(this.step.max)) return this.stop();
        this.step.value = Number(this.step.value) + 1;
        this.draw();
      }, 70);
    }
    stop() { clearInterval(this.timer); this.timer = null; this.play.textContent = "Play"; }
    draw() {
      const { plan, group } = this, scene = this.content.scenes[group.env];
      const start = plan.executed[0], made = plan.recording;
      for (const stage of [this.model, this.world]) {
        stage.clear(scene, group.view);
        stage.all(start, colour("--start"), 0.25, 1);
      }
      if (made) {
        const k = Number(this.iteration.value), rollout = made.rollouts[k];
        const ghosts = made.virtual ? made.virtual[k] : rollout;
        ghosts.forEach((state, t) => this.model.all(state, timeColour(t / Math.max(1, ghosts.length - 1)), 0.05, 1.3));
        this.model.path([start, ...rollout], colour("--plan"));
        this.model.all(rollout[rollout.length - 1], colour("--plan"), 0.3, 1.6);
        const cost = made.best_cost[k];
        this.part("iteration-is").value = `step ${made.steps[k]}` + (cost === null ? "" : `, cost ${cost.toPrecision(3)}`);
        this.element.dataset.iteration = made.steps[k];
      } else {
        this.part("iteration-is").value = "not decoded";
      }
      const t = Number(this.step.value);
      this.world.path(plan.executed.slice(0, t + 1), colour("--run"));
      this.world.all(plan.executed[t], colour("--run"), 0.5, 1.6);
      for (const stage of [this.model, this.world]) stage.all(group.goal, colour("--goal"), 0.07, 2, [6, 3]);
      this.part("step-is").value = `step ${t} of ${this.step.max}`;
      this.part("outcome").textContent = `${plan.arm}: ${plan.success ? "solved" : "failed"}, ${plan.told}`;
      this.element.dataset.step = t;
      this.element.dataset.arm = plan.arm;
    }
  }

  for (const element of document.querySelectorAll("[data-viewer]")) {
    new Viewer(element, JSON.parse(document.getElementById(element.dataset.viewer).textContent));
  }
  root.dataset.ready = "yes";
})();
