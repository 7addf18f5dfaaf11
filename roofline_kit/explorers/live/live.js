// What one sees and drags. SPEC (controls, views, words) and PROGRAMS (formulas compiled from
// SymPy) stand before this text; shell.py writes them. A state becomes numbers, numbers become
// marks, marks become SVG: nothing asks a kernel. picture.py draws the same marks in Python for the
// stored picture; the tests compare the two mark by mark.

// --- from a state to numbers ---

const CONTROLS = Object.fromEntries(SPEC.controls.map((c) => [c.name, c]));

function valuesAt(state) {
  const at = {};
  for (const c of SPEC.controls) {
    at[c.name] = state[c.name];
    if (c.sets) Object.assign(at, c.sets[state[c.name]]);
  }
  for (const t of SPEC.tables) {
    const found = t.by.reduce((v, name) => (typeof v === "object" ? v[at[name]] : v), t.values);
    at[t.sets] = found ?? NaN;
    at["no_" + t.sets] = Number.isNaN(at[t.sets]) ? 1 : 0;
  }
  const program = PROGRAMS[SPEC.select.map((name) => state[name]).join("|")];
  program(SPEC.inputs.map((name) => Number(at[name]))).forEach((value, i) => {
    at[SPEC.outputs[i]] = value;
  });
  return at;
}

// The first message whose condition holds: what does not fit or does not exist, in words.
function messageAt(at) {
  for (const m of SPEC.messages)
    if (!(at[m.when] <= 0)) return { text: fill(m.text, at), blocks: m.blocks };
  return null;
}

// --- from numbers to words ---

const PREFIXES = ["p", "n", "µ", "m", "", "k", "M", "G", "T", "P", "E", "Z"];

function format(value, kind) {
  if (typeof value !== "number")
    return value === true ? "yes" : value === false ? "no" : String(value);
  if (Number.isNaN(value)) return "–";
  if (kind === "bound") return value >= 1 ? "compute-bound" : "memory-bound";
  if (kind === "%" && value > 0 && value < 1e-3) return "< 0.1 %";
  if (kind === "%") return grouped(Number((100 * value).toPrecision(2))) + " %";
  if (kind === "int")
    return Math.abs(value) < 1e15 ? grouped(Math.floor(value + 0.5)) : format(value, "si").trim();
  if (kind === "exact") return grouped(value);
  if (kind === "size") return grouped(Number(value.toFixed(4)));
  if (!kind)
    return value >= 1e6 || (value > 0 && value < 1e-3)
      ? format(value, "si").trim()
      : grouped(Number(value.toPrecision(4)));
  if (!(value < 1e27 && value >= 1e-15))
    return value < 1e-15 ? "0 " + (kind === "si" ? "" : kind) : "∞ " + (kind === "si" ? "" : kind);
  const short = Number(value.toPrecision(3)),
    third = Math.min(7, Math.max(-4, Math.floor(Math.log10(short) / 3 + 1e-9)));
  const mantissa = Number((short / 10 ** (3 * third)).toPrecision(3));
  return mantissa + " " + PREFIXES[third + 4] + (kind === "si" ? "" : kind);
}

function grouped(value) {
  const [whole, part] = String(value).split(".");
  return whole.replace(/\B(?=(\d{3})+$)/g, ",") + (part ? "." + part : "");
}

const fill = (template, at) =>
  template.replace(/\{([^{}:]+)(?::([^{}]+))?\}/g, (all, name, kind) =>
    name in at ? format(at[name], kind) : all,
  );

// The sentence, and the remarks on what is there.
function sentenceAt(at) {
  const remarks = Object.entries(SPEC.remarks).filter(([value]) => at[value] > 0);
  return fill([SPEC.sentence, ...remarks.map(([, words]) => words)].join(" "), at);
}

function wrapped(text, room) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = lines[lines.length - 1] + (lines[lines.length - 1] && " ") + word;
    if (longer.length <= room || !lines[lines.length - 1]) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

// --- from numbers to marks: [tag, attributes, text] ---

const tenth = (x) => Math.floor(x * 10 + 0.5) / 10;
const dots = (points) => points.map(([x, y]) => tenth(x) + "," + tenth(y)).join(" ");

const bold = { "font-weight": "bold" };
const words = (k, x, y, text, fill, more = {}) => [
  "text",
  {
    x: tenth(x),
    y: tenth(y),
    fill,
    "font-size": tenth(12.5 * k),
    "text-anchor": "start",
    ...more,
  },
  text,
];

// The title; what does not fit or does not exist takes its place, which has room for two lines, so
// that nothing jumps.
function heading(view, at, message, { width, scale: k }) {
  const text = message ? message.text : fill(view.title, at),
    look = { "font-size": tenth(15 * k), ...bold };
  return wrapped(text, Math.floor((width - 16 * k) / (9 * k))).map((line, i) =>
    words(k, 8 * k, (20 + 19 * i) * k, line, message ? "warning" : "ink", look),
  );
}

// now, ghost: {at, sweeps: {control: [at, …]}}; ghost is the frozen state or null. frame: {width,
// height, scale}.
function draw(view, now, ghost, message, frame) {
  const { width, height, scale: k } = frame,
    marks = [],
    at = now.at;
  const put = (tag, attributes, text = "") => marks.push([tag, attributes, text]);
  const write = (...given) => marks.push(words(k, ...given));
  put("rect", { x: 0, y: 0, width, height, fill: "page" });
  const title = heading(view, at, message, frame);
  marks.push(...title);
  if (message && message.blocks) return marks;
  const narrow = width < 480,
    top = (34 + 19 * Math.max(2, title.length) + (narrow ? 14 : 0)) * k,
    bottom = height - 42 * k,
    left = 62 * k,
    right = width - view.margin * k;

  // The axes hold all that is drawn, the vertical one in whole decades.
  const seen = [],
    across = [view.x.lo, view.x.hi];
  for (const source of ghost ? [ghost, now] : [now])
    for (const mark of view.marks) {
      for (const a of mark.kind === "curve" || mark.kind === "dots"
        ? source.sweeps[mark.over]
        : mark.kind === "point"
          ? [source.at]
          : []) {
        seen.push(a[mark.y]);
        across.push(a[mark.x]);
      }
      if (mark.kind === "line" && !(source === ghost && mark.still)) {
        const heights = mark.points.filter((p) => p[1] in source.at).map((p) => source.at[p[1]]);
        if (heights.every(Number.isFinite)) seen.push(...heights);
      }
    }
  const drawable = (v) => v > 0 && v < Infinity,
    finite = seen.filter(drawable),
    wide = across.filter(drawable);
  const x0 = Math.min(...wide),
    x1 = Math.max(...wide);
  const e0 = decade(Math.min(...finite), Math.floor),
    e1 = Math.max(e0 + 1, decade(Math.max(...finite), Math.ceil));
  const X = (v) => left + (Math.log10(v / x0) / Math.log10(x1 / x0)) * (right - left);
  const Y = (v) => bottom - ((Math.log10(v) - e0) / (e1 - e0)) * (bottom - top);
  const ends = { x0, x1, y0: 10 ** e0, y1: 10 ** e1 };
  const spot = (xy, from) =>
    xy.map((v) => (typeof v === "number" ? v : v in ends ? ends[v] : from[v]));
  const pixels = (xy, from) => {
    const [x, y] = spot(xy, from);
    return [X(x), Y(y)];
  };
  const visible = (points) => points.every((p) => p.every(Number.isFinite));

  const areas = []; // parts of the picture where something holds, and what it is
  for (const mark of view.marks)
    if (mark.kind === "area") {
      const from = Math.max(left, Math.min(right, X(Math.max(x0, at[mark.from]))));
      if (right - from > 0.5)
        put("rect", {
          x: tenth(from),
          y: tenth(top),
          width: tenth(right - from),
          height: tenth(bottom - top),
          fill: mark.fill,
        });
      if (mark.label && right - from > 90 * k) areas.push(mark.label);
    }
  const step = Math.ceil(((e1 - e0) * 22 * k) / (bottom - top));
  for (let e = e0; e <= e1; e += step) {
    put("polyline", {
      points: dots([
        [left, Y(10 ** e)],
        [right, Y(10 ** e)],
      ]),
      fill: "none",
      stroke: "grid",
      "stroke-width": tenth(k),
    });
    write(left - 7 * k, Y(10 ** e) + 4 * k, format(10 ** e, view.y.unit), "ink", {
      "text-anchor": "end",
    });
  }
  const ticks = view.x.ticks.length ? view.x.ticks : decades(x0, x1);
  const each = Math.ceil((ticks.length * 46 * k) / (right - left));
  ticks.forEach((tick, i) => {
    if (i % each) return;
    put("polyline", {
      points: dots([
        [X(tick), top],
        [X(tick), bottom],
      ]),
      fill: "none",
      stroke: "grid",
      "stroke-width": tenth(k),
    });
    write(X(tick), bottom + 17 * k, format(tick, view.x.unit), "ink", { "text-anchor": "middle" });
  });
  put("polyline", {
    points: dots([
      [left, top],
      [left, bottom],
      [right, bottom],
    ]),
    fill: "none",
    stroke: "faint",
    "stroke-width": tenth(k),
  });
  for (const label of areas)
    write(right - 8 * k, bottom - 10 * k, label, "warning", { "text-anchor": "end", ...bold });
  write(8 * k, top - (narrow ? 26 : 10) * k, fill(view.y.label, at), "ink", {
    "font-size": tenth(12 * k),
  });
  write(right, height - 8 * k, fill(view.x.label, at), "ink", {
    "font-size": tenth(12 * k),
    "text-anchor": "end",
  });

  const ended = [],
    pointed = [],
    taken = [];
  const curves = view.marks
    .filter((mark) => mark.kind === "curve" && mark.label)
    .flatMap((mark) => {
      const all = now.sweeps[mark.over].map((a) => pixels([mark.x, mark.y], a));
      const there = all.filter((p) => p.every(Number.isFinite));
      return there.slice(1).map((point, i) => [there[i], point]);
    });
  const roofs = [],
    dotted = []; // pieces of lines, and of those that are only dotted
  const take = (x, y, w, h) => taken.push([x, y, x + w, y + h]);
  // Words that are turned: a box around them would be mostly empty, so a row of small ones.
  const takeAlong = (x, y, angle, off, w) => {
    for (let i = 0; i < Math.ceil(w / (12 * k)); i++) {
      const along = (12 * i + 6) * k;
      const cx = x + Math.cos(angle) * along - Math.sin(angle) * off;
      const cy = y + Math.sin(angle) * along + Math.cos(angle) * off;
      take(cx - 8 * k, cy - 8 * k, 16 * k, 16 * k);
    }
  };
  const lines = (source, frozen) => {
    for (const mark of view.marks) {
      if (mark.kind === "line" && !(frozen && mark.still)) {
        const points = mark.points.map((p) => pixels(p, source.at));
        if (!visible(points)) continue;
        const onLine = mark.dash === "2,4" ? dotted : roofs;
        if (!frozen) onLine.push(...points.slice(1).map((point, i) => [points[i], point]));
        if (points.length)
          put("polyline", {
            points: dots(points),
            fill: "none",
            stroke: frozen ? "faint" : mark.stroke,
            "stroke-width": tenth((frozen ? 1.2 : mark.width) * k),
            "stroke-dasharray": frozen ? "2,4" : mark.dash,
          });
        if (!frozen)
          for (const label of mark.labels) {
            const [x, y] = pixels(label.at, source.at);
            const more = { "text-anchor": label.anchor, ...bold };
            const below = label.under && at[label.under] > at[label.at[1]];
            const dy = !below ? label.dy : label.along ? 20 : 16;
            const text = fill(narrow ? label.brief : label.text, at),
              w = text.length * 7.6 * k;
            if (label.along) {
              // turned, to lie on the line
              const [[xa, ya], [xb, yb]] = [points[0], points[1]];
              const angle = Math.atan2(yb - ya, xb - xa);
              more.transform = `rotate(${tenth((angle * 180) / Math.PI)} ${tenth(x)} ${tenth(y)})`;
              takeAlong(x, y, angle, (dy - 4) * k, w);
              write(x, y + dy * k, text, label.fill, more);
              continue;
            }
            const places = [[x + label.dx * k, y + dy * k, label.anchor]];
            if (label.moves) {
              const end = right - label.dx * k;
              places.push([places[0][0], y + 16 * k, label.anchor]);
              places.push([end, y + label.dy * k, "end"], [end, y + 16 * k, "end"]);
            }
            const box = ([a, b, anchor]) => {
              const from = a - (anchor === "end" ? w : anchor === "middle" ? w / 2 : 0);
              return [from, b - 11 * k, from + w, b + 4 * k];
            };
            const isFree = (place) => !curves.some((piece) => isCrossed(piece, box(place)));
            const place = places.find(isFree) ?? places[0];
            const [a, b] = box(place);
            take(a, b, w, 15 * k);
            write(place[0], place[1], text, label.fill, { ...more, "text-anchor": place[2] });
          }
      }
      if (mark.kind === "curve") {
        const points = source.sweeps[mark.over]
          .map((a) => pixels([mark.x, mark.y], a))
          .filter((p) => p.every(Number.isFinite));
        if (!points.length) continue;
        const path = dots(points),
          same = ended.find((label) => !frozen && mark.label && label[3] === path);
        if (same) {
          ended.push([same[0], mark.label, same[2], ""]);
          continue;
        }
        put("polyline", {
          points: path,
          fill: "none",
          stroke: mark.stroke,
          "stroke-width": tenth((frozen ? 1.5 : mark.width) * k),
          "stroke-dasharray": frozen ? "2,4" : mark.dash,
          "stroke-linejoin": "round",
          opacity: frozen ? 0.7 : mark.opacity,
        });
        if (!frozen && mark.label)
          ended.push([points[points.length - 1][1] + 4 * k, mark.label, mark.stroke, path]);
      }
    }
  };
  const points = (source, frozen) => {
    for (const mark of view.marks)
      if (mark.kind === "point") {
        const [x, y] = pixels([mark.x, mark.y], source.at);
        if (
          !visible([[x, y]]) ||
          marks.some(
            ([tag, a]) =>
              tag === "circle" &&
              a.cx === tenth(x) &&
              a.cy === tenth(y) &&
              (a.fill === "page") === frozen &&
              !mark.label,
          )
        )
          continue;
        const role = !mark.bound ? mark.fill : source.at[mark.bound] >= 1 ? "compute" : "memory";
        put("circle", {
          cx: tenth(x),
          cy: tenth(y),
          r: tenth((frozen ? 5 : 6.5) * k),
          fill: frozen ? "page" : role,
          stroke: frozen ? role : "page",
          "stroke-width": tenth((frozen ? 2 : 1.5) * k),
        });
        if (!mark.label || frozen) continue;
        const label = (narrow && mark.brief) || mark.label;
        const same = pointed.find((p) => Math.hypot(p[0] - x, p[1] - y) < 9 * k);
        if (same) same[2].push(label);
        else pointed.push([x, y, [label], role, true]);
      }
  };
  for (const part of [lines, points]) {
    if (ghost) part(ghost, true);
    part(now, false);
  }
  // What was measured, as diamonds; the first one has the label.
  for (const mark of view.marks)
    if (mark.kind === "dots") {
      const there = now.sweeps[mark.over]
        .map((a) => pixels([mark.x, mark.y], a))
        .filter((p) => p.every(Number.isFinite));
      const r = 5 * k;
      for (const [x, y] of there)
        put("polyline", {
          points: dots([
            [x, y - r],
            [x + r, y],
            [x, y + r],
            [x - r, y],
            [x, y - r],
          ]),
          fill: "none",
          stroke: mark.stroke,
          "stroke-width": tenth(2 * k),
        });
      if (there.length) pointed.push([...there[0], [mark.label], mark.stroke, false]);
    }

  ended.sort((a, b) => a[0] - b[0]);
  ended.forEach((label, i) => {
    if (i) label[0] = Math.max(label[0], ended[i - 1][0] + 16 * k);
  });
  const over = ended.length ? Math.max(0, ended[ended.length - 1][0] - bottom) : 0;
  for (const [y, text, role] of ended) write(right + 7 * k, y - over, text, role, bold);
  for (const [x, y] of pointed) take(x - 7 * k, y - 7 * k, 14 * k, 14 * k);
  for (const [x, y, names, role, isNamed] of pointed) {
    // beside its point, where nothing else is; what was measured has no name where there is no such place
    const texts = narrow ? names : [names.join(", ")];
    const w = Math.max(...texts.map((text) => text.length)) * 7.6 * k,
      more = 15 * (texts.length - 1); // the lines that come below the first
    const places = [
      [9, 18, "start"],
      [0, 23, "middle"],
      [11, 4, "start"],
      [9, 34, "start"],
      [-9, -9, "end"],
      [0, -13, "middle"],
      [-11, 4, "end"],
      [-9, 22, "end"],
      [9, -12, "start"],
    ];
    for (const far of [50, 66, 82, 98])
      // beyond a roof that passes near
      places.push([9, far, "start"], [0, far, "middle"], [-9, far, "end"]);
    for (const p of places) if (p[1] < 0) p[1] -= more;
    const before = { start: 0, middle: w / 2, end: w },
      // to stay inside
      shifted = ([dx, , anchor]) => Math.min(dx * k, width - 2 - x - w + before[anchor]);
    const box = (p) => {
      const a = x + shifted(p) - before[p[2]];
      return [a, y + p[1] * k - 11 * k, a + w, y + (p[1] + 4 + more) * k];
    };
    const clear = ([a, b, c, d]) =>
      a >= left &&
      b >= top - 8 * k &&
      d <= bottom + 2 * k &&
      !taken.some((t) => a < t[2] && t[0] < c && b < t[3] && t[1] < d);
    const crosses = (pieces, b) => pieces.some((piece) => isCrossed(piece, b));
    // Rather on a dotted line than on a roof, and rather on a roof than on words.
    const open = places.filter((p) => clear(box(p)));
    if (!open.length && !isNamed) continue;
    const beside = open.filter((p) => !crosses(roofs, box(p)));
    const place = beside.find((p) => !crosses(dotted, box(p))) ?? beside[0] ?? open[0] ?? places[0];
    take(...[box(place)].map(([a, b, c, d]) => [a, b, c - a, d - b])[0]);
    texts.forEach((text, n) =>
      write(x + shifted(place), y + (place[1] + 15 * n) * k, text, role, {
        "text-anchor": place[2],
        ...bold,
      }),
    );
  }
  return marks;
}

// Whether a straight piece of a line goes through a box: it has corners on both sides.
function isCrossed([[x, y], [u, v]], [a, b, c, d]) {
  const near = Math.max(x, u) > a && Math.min(x, u) < c && Math.max(y, v) > b && Math.min(y, v) < d;
  const corners = [
    [a, b],
    [a, d],
    [c, b],
    [c, d],
  ];
  const sides = corners.map(([p, q]) => (p - x) * (v - y) - (q - y) * (u - x));
  return near && Math.min(...sides) < 0 && Math.max(...sides) > 0;
}

const decade = (value, round) => round(Math.log10(value) + (round === Math.ceil ? -1e-9 : 1e-9));

function decades(x0, x1) {
  const found = [];
  for (let e = decade(x0, Math.ceil); e <= decade(x1, Math.floor); e++) found.push(10 ** e);
  return found;
}

// Stacked bars, each with a title above and names below; and the height, which may have to be more.
function drawBars(view, now, ghost, message, { width, height: wanted, scale: k }) {
  const title = heading(view, now.at, message, { width, scale: k });
  const columns = width < 480 ? 2 : Math.max(...view.bars.map((bar) => bar.parts.length));
  const rows = Math.max(...view.bars.map((bar) => Math.ceil(bar.parts.length / columns)));
  const top = (22 + 19 * Math.max(2, title.length)) * k,
    around = (66 + 36 * rows) * k; // around a bar: what is above and below it
  const room = Math.floor((wanted - top) / view.bars.length) - around,
    thick = Math.max(26 * k, Math.min(90 * k, room));
  const height = Math.ceil(Math.max(wanted, top + view.bars.length * (around + thick)));
  const marks = [["rect", { x: 0, y: 0, width, height, fill: "page" }, ""], ...title];
  if (!(message && message.blocks))
    view.bars.forEach((bar, i) => {
      const y = top + i * (around + thick) + 38 * k;
      marks.push(...drawStack(bar, now.at, ghost?.at, { y, thick, width, columns, k }));
    });
  return { width, height, marks };
}

// One bar whose upper edge is at y; below it, thin and pale, that of the frozen state.
function drawStack(bar, at, frozen, { y, thick, width, columns, k }) {
  const left = 8 * k,
    right = width - 8 * k,
    marks = [];
  const sum = (source) => bar.parts.reduce((all, [value]) => all + source[value], 0);
  const total = sum(at),
    limit = at[bar.limit],
    was = frozen ? sum(frozen) : 0,
    before = was > 0 && was < Infinity ? frozen : null, // it may have no such numbers
    most = Math.max(total, limit, before ? was : 0);
  const X = (v) => left + (v / most) * (right - left);
  const box = (x, from, to, end, fill, opacity = 1) =>
    marks.push([
      "rect",
      {
        x: tenth(x),
        y: tenth(from),
        width: Math.max(0, tenth(to - x)),
        height: tenth(end - from),
        fill,
        opacity,
      },
      "",
    ]);
  const line = (points, stroke, wide, more = {}) =>
    marks.push([
      "polyline",
      { points: dots(points), fill: "none", stroke, "stroke-width": tenth(wide * k), ...more },
      "",
    ]);
  const write = (...given) => marks.push(words(k, ...given));
  const bottom = y + thick,
    low = bottom - (before ? 12 * k : 0);
  write(left, y - 26 * k, fill(bar.title, at), "ink", bold);
  if (bar.beyond && total > limit) box(X(limit), y - 20 * k, right, bottom, bar.beyond);
  const rows = [[at, y, low, 1]];
  if (before) rows.push([before, low + 3 * k, bottom, 0.45]);
  for (const [source, above, below, opacity] of rows) {
    let begin = 0;
    for (const [value, , color] of bar.parts) {
      box(X(begin), above, X(begin + source[value]), below, color, opacity);
      begin += source[value];
      // so that no two colours touch
      const edge = [
        [X(begin), above],
        [X(begin), below],
      ];
      line(edge, "page", 1.5);
    }
  }
  const place = X(limit);
  const down = [
    [place, y - 18 * k],
    [place, bottom + 4 * k],
  ];
  line(down, "page", 4); // so that it is seen on every colour
  line(down, "ink", 1.8, { "stroke-dasharray": "7,4" });
  const text = fill(width < 480 ? bar.brief : bar.words, at),
    w = text.length * 7.6 * k;
  if (place - 6 * k - w >= left)
    write(place - 6 * k, y - 8 * k, text, "ink", { "text-anchor": "end", ...bold });
  else write(Math.min(place + 6 * k, right - w), y - 8 * k, text, "ink", bold);
  let begin = 0;
  bar.parts.forEach(([value, label, color], i) => {
    const x = left + ((i % columns) * (right - left)) / columns,
      under = bottom + (20 + 36 * Math.floor(i / columns)) * k;
    box(x, under, x + 10 * k, under + 10 * k, color);
    const leader = [
      [X(begin + at[value] / 2), bottom],
      [x + 5 * k, under],
    ];
    if (columns === bar.parts.length && at[value] > 0) line(leader, color, 1.5);
    begin += at[value];
    write(x + 15 * k, under + 10 * k, label, color, bold);
    const share = format(at[value] / total, "%");
    write(x + 15 * k, under + 25 * k, `${format(at[value], bar.unit)}, ${share}`, "ink");
  });
  return marks;
}

// Which tokens (columns) each query (rows) reads, for blocks, a window and a choice of blocks.
function drawMask(mask, at, frame) {
  const { scale: k, left, top } = frame,
    marks = [],
    n = mask.cells,
    S = at[mask.tokens];
  const cell = Math.floor(frame.side / n),
    side = cell * n; // whole pixels, or seams show
  const kinds = { far: [], selected: [], near: [] };
  for (let i = 0; i < n; i++) {
    const t = Math.ceil(((i + 1) * S) / n) - 1,
      chosen = chosenBlocks(t, at[mask.block], at[mask.selected]);
    let run = null;
    for (let j = 0; j <= n; j++) {
      const a = Math.floor((j * S) / n),
        b = Math.min(t, Math.ceil(((j + 1) * S) / n) - 1);
      const kind =
        j === n || a > t
          ? null
          : b > t - at[mask.window]
            ? "near"
            : chosen.some((c) => c * at[mask.block] <= b && a <= (c + 1) * at[mask.block] - 1)
              ? "selected"
              : "far";
      if (run && run.kind !== kind) {
        kinds[run.kind].push(run.from, j, i);
        run = null;
      }
      if (kind && !run) run = { kind, from: j };
    }
  }
  const write = (x, y, text, fill, more = {}) =>
    marks.push([
      "text",
      {
        x: tenth(x),
        y: tenth(y),
        fill,
        "font-size": tenth(12 * k),
        "text-anchor": "start",
        ...more,
      },
      text,
    ]);
  write(left, top - 10 * k, fill(mask.title, at), "ink");
  marks.push([
    "rect",
    {
      x: tenth(left),
      y: tenth(top),
      width: tenth(side),
      height: tenth(side),
      fill: "none",
      stroke: "faint",
      "stroke-width": tenth(k),
    },
    "",
  ]);
  for (const [kind, role, opacity] of [
    ["far", "third", 0.3],
    ["selected", "fourth", 1],
    ["near", "path", 1],
  ]) {
    const runs = kinds[kind],
      parts = [];
    for (let r = 0; r < runs.length; r += 3) {
      const start = `M${tenth(left + runs[r] * cell)},${tenth(top + runs[r + 2] * cell)}`;
      const right = tenth((runs[r + 1] - runs[r]) * cell);
      const back = tenth((runs[r] - runs[r + 1]) * cell);
      parts.push(`${start}h${right}v${tenth(cell)}h${back}z`);
    }
    marks.push(["path", { d: parts.join(""), fill: role, opacity }, ""]);
  }
  mask.legend.forEach(([role, text], i) =>
    write(left + side - 6 * k, top + (16 + 17 * i) * k, text, role, {
      "text-anchor": "end",
      "font-weight": "bold",
    }),
  );
  return marks;
}

// A query's own block, the one before it, the first, and others: which ones depends on the data;
// here evenly spread.
function chosenBlocks(t, block, selected) {
  const own = Math.floor(t / block),
    chosen = [...new Set([0, Math.max(0, own - 1), own])];
  const between = own - 2,
    more = Math.min(selected - chosen.length, Math.max(0, between));
  for (let i = 0; i < more; i++) chosen.push(1 + Math.floor(((i + 0.5) * between) / more));
  return chosen;
}

// The whole picture: the chart, and beside or below it the mask, where there is one.
function picture(view, now, ghost, message, width, height) {
  const scale = width >= 1000 ? 1.3 : 1;
  if (view.bars) return drawBars(view, now, ghost, message, { width, height, scale });
  if (!view.mask)
    return { width, height, marks: draw(view, now, ghost, message, { width, height, scale }) };
  const wide = width >= 640,
    part = wide ? Math.floor(width * 0.6) : width;
  const room = wide ? Math.min(width - part - 24 * scale, height - 64 * scale) : width - 32 * scale,
    side = room - (room % view.mask.cells);
  const chart = draw(view, now, ghost, message, { width: part, height, scale });
  const frame = {
    scale,
    side,
    left: Math.round(wide ? part + 8 * scale : 16 * scale),
    top: Math.round(wide ? 44 * scale : height + 30 * scale),
  };
  const total = wide ? height : height + side + 50 * scale;
  const ground = ["rect", { x: 0, y: 0, width, height: tenth(total), fill: "page" }, ""];
  return {
    width,
    height: tenth(total),
    marks: [
      ground,
      ...chart,
      ...(message && message.blocks ? [] : drawMask(view.mask, now.at, frame)),
    ],
  };
}

// --- from marks to the page ---

const NS = "http://www.w3.org/2000/svg",
  ROLES = new Set(Object.keys(SPEC.themes.light));
const h = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
};

// A formula that a line can break in, before each plus and minus; a browser does not break what is
// one <math>.
function inLines(text) {
  const span = h("span"),
    parts = [];
  span.innerHTML = `<math>${text}</math>`;
  const flat = (node) => (node.localName === "mrow" ? [...node.childNodes].flatMap(flat) : [node]);
  const nodes = [...span.firstChild.childNodes].flatMap(flat),
    level = !nodes.some((node) => node.localName === "mfrac");
  for (const node of nodes) {
    const sign = node.localName === "mo" && "+-".includes(node.textContent);
    if (level && "()".includes(node.textContent)) node.setAttribute("stretchy", "false");
    if (sign) node.setAttribute("form", "infix");
    if (sign || !parts.length) parts.push(span.firstChild.cloneNode());
    parts.at(-1).append(node);
  }
  for (const part of parts) part.setAttribute("displaystyle", "true");
  span.replaceChildren(...parts.flatMap((part) => [part, document.createElement("wbr")]));
  return span;
}

// Only what has changed is touched: a drag moves a few points.
function paint(svg, shown, marks) {
  marks.forEach(([tag, attributes, text], i) => {
    let node = svg.childNodes[i],
      before = shown[i];
    if (!node || before[0] !== tag) {
      const made = document.createElementNS(NS, tag);
      if (node) node.replaceWith(made);
      else svg.append(made);
      node = made;
      before = [tag, {}, ""];
    }
    for (const name in attributes)
      if (attributes[name] !== before[1][name]) {
        const value = attributes[name];
        node.setAttribute(name, ROLES.has(value) ? `var(--rk-${value})` : value);
      }
    for (const name in before[1]) if (!(name in attributes)) node.removeAttribute(name);
    if (text !== before[2]) node.textContent = text;
  });
  while (svg.childNodes.length > marks.length) svg.lastChild.remove();
}

// root: an element to fill. options: controls (draw some, or leave them to ipywidgets), state,
// frozen, changed(state, frozen).
function mount(root, options) {
  for (const feature of ["ResizeObserver", "MutationObserver"])
    if (!(feature in window)) throw new Error(`this browser has no ${feature}`);
  // each output on a page has a copy of this text
  window.rooflineMounted = (window.rooflineMounted ?? 0) + 1;
  const id = `rk${window.rooflineMounted}`,
    inputs = {},
    initial = { ...SPEC.state };
  let state = { ...initial, ...options.state },
    frozen = options.frozen ?? SPEC.frozen,
    width = 720,
    projector = false,
    said = 0,
    slow = 0,
    pending = 0;
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("role", "img");
  let shown = [],
    last = null;
  const alert = h("p", { class: "rk-spoken", role: "status", "aria-live": "off" }),
    sentence = h("p", { class: "rk-sentence" });
  const spoken = h("p", { class: "rk-spoken", "aria-live": "polite" });
  const table = h(
    "table",
    { style: `--rk-columns: ${SPEC.table.columns.length - 1}` },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        ...SPEC.table.columns.map((name, i) => h(i ? "th" : "td", i ? { scope: "col" } : {}, name)),
      ),
    ),
    h("tbody"),
  );
  const cells = SPEC.table.rows
    .map(([name, ...values]) => {
      const row = h(
        "tr",
        {},
        h("th", { scope: "row" }, name),
        ...values.map(() => h("td")),
        h("td", { class: "rk-ratio" }),
      );
      table.lastChild.append(row);
      return values.map((value, i) => [row.children[i + 1], value]);
    })
    .flat();
  table
    .querySelector("thead tr")
    .append(
      h("th", { scope: "col", class: "rk-ratio" }, `${SPEC.table.columns.at(-1)}, now / frozen`),
    );
  const formulas = h("div", {
      class: "rk-formulas",
      tabindex: "0",
      role: "region",
      "aria-label": SPEC.name + ": formulas",
    }),
    note = h("p", { class: "rk-note", role: "status" });
  const figure = h("div", { class: "rk-figure" }, svg);
  const controls = h("div", {
    class: "rk-controls",
    role: "group",
    "aria-label": SPEC.name + ": controls",
  });
  const freeze = h(
    "button",
    {
      type: "button",
      "aria-pressed": "false",
      title: "keep the present state as a ghost to compare with",
      onclick: () => keep(frozen ? null : { ...state }),
    },
    "Freeze",
  );
  const large = h(
    "button",
    {
      type: "button",
      "aria-pressed": "false",
      title: "fill the screen, for a projector",
      onclick: () => enlarge(!projector),
    },
    "Large",
  );
  const darkFiles = h("input", { type: "checkbox" });
  const actions = h(
    "div",
    { class: "rk-actions" },
    h(
      "button",
      {
        type: "button",
        onclick: () => {
          keep(SPEC.frozen, true);
          go({ ...initial });
        },
      },
      "Reset",
    ),
    freeze,
    h(
      "button",
      { type: "button", title: "copy the call that makes this state", onclick: copy },
      "Copy as Python",
    ),
    ...["PNG", "SVG", "CSV"].map((kind) =>
      h("button", { type: "button", title: `save as ${kind}`, onclick: () => save(kind) }, kind),
    ),
    h(
      "label",
      { title: "for slides; they are light, for paper, unless asked" },
      darkFiles,
      "dark PNG and SVG",
    ),
    large,
  );
  root.classList.add("rk");
  const words = h("summary", {}, "formulas, and the same with these numbers");
  const numbers = h("div", { class: "rk-scroll", tabindex: "0", role: "region" }, table);
  numbers.setAttribute("aria-label", SPEC.name + ": numbers");
  root.replaceChildren(
    h(
      "div",
      { class: "rk-page" },
      h("div", { class: "rk-side" }, ...(options.controls ? [controls] : []), actions, note),
      h("div", { class: "rk-main" }, figure, alert, sentence),
      h("div", { class: "rk-below" }, numbers, h("details", { open: true }, words, formulas)),
      spoken,
    ),
  );

  if (options.controls)
    for (const c of SPEC.controls) {
      const name = `${id}-${c.name}`,
        value = h("output", { for: name, "aria-live": "off" }); // the slider itself says its value
      const input =
        c.kind === "choice"
          ? h(
              "select",
              { id: name },
              ...c.values.map((v, i) => h("option", { value: i }, c.texts[i])),
            )
          : c.kind === "check"
            ? h("input", { id: name, type: "checkbox" })
            : h("input", { id: name, type: "range", min: 0, max: c.values.length - 1, step: 1 });
      input.addEventListener(c.kind === "slider" ? "input" : "change", () =>
        go(moved(c, c.kind === "check" ? input.checked : c.values[Number(input.value)])),
      );
      inputs[c.name] = { input, value };
      controls.append(
        h(
          "div",
          { class: "rk-control rk-" + c.kind },
          h("label", { for: name }, c.label),
          input,
          ...(c.kind === "slider" ? [value] : []),
        ),
      );
    }

  // A choice may move other controls with it: a model has its own number of K and V heads.
  const moved = (c, value) => ({ ...state, [c.name]: value, ...(c.moves ? c.moves[value] : {}) });

  function go(next) {
    state = next;
    options.changed?.(state, frozen);
    update();
  }
  function keep(what, quiet) {
    frozen = what;
    freeze.setAttribute("aria-pressed", String(!!frozen));
    freeze.textContent = frozen ? "Unfreeze" : "Freeze";
    if (!quiet) {
      options.changed?.(state, frozen);
      update();
    }
  }

  const caches = [new Map(), new Map()];
  function reading(of, cache) {
    // its numbers, and those of its curves, which do not depend on the swept control
    const view = SPEC.views[of[SPEC.show] ?? ""],
      sweeps = {};
    for (const name of new Set(view.marks.filter((m) => m.over).map((m) => m.over))) {
      const key = name + JSON.stringify({ ...of, [name]: 0 });
      if (!cache.has(key)) {
        cache.clear();
        cache.set(
          key,
          CONTROLS[name].values.map((v) => valuesAt({ ...of, [name]: v })),
        );
      }
      sweeps[name] = cache.get(key);
    }
    return { at: valuesAt(of), sweeps };
  }

  // What is drawn of a state: its numbers, the message, and the marks.
  function drawn(of, before, wide, high) {
    const view = SPEC.views[of[SPEC.show] ?? ""],
      now = reading(of, caches[0]),
      message = messageAt(now.at);
    const ghost = before
      ? reading({ ...before, ...(SPEC.show ? { [SPEC.show]: of[SPEC.show] } : {}) }, caches[1])
      : null;
    return {
      at: now.at,
      before: ghost?.at,
      message,
      ...picture(view, now, ghost, message, wide, high),
    };
  }

  function update() {
    const high = projector
      ? Math.round(width * 0.56)
      : Math.max(300, Math.min(430, Math.round(width * 0.58)));
    const made = drawn(state, frozen, width, high),
      { at, message } = made;
    const box = `0 0 ${made.width} ${made.height}`;
    if (svg.getAttribute("viewBox") !== box) svg.setAttribute("viewBox", box);
    paint(svg, shown, made.marks);
    shown = made.marks;
    const words = message && message.blocks ? "" : sentenceAt(at),
      told = `${words} ${message ? message.text : ""}`.trim();
    if (svg.getAttribute("aria-label") !== told) svg.setAttribute("aria-label", told);
    sentence.textContent = words;
    alert.textContent = message ? message.text : "";
    for (const [cell, [name, kind]] of cells) {
      const text = message && message.blocks ? "–" : format(at[name], kind);
      if (cell.textContent !== text) cell.textContent = text;
    }
    table.classList.toggle("rk-compared", !!made.before);
    if (made.before)
      SPEC.table.rows.forEach((row, i) => {
        const [name] = row.at(-1),
          ratio = message && message.blocks ? NaN : at[name] / made.before[name];
        table.tBodies[0].rows[i].lastChild.textContent = Number.isNaN(ratio)
          ? "–"
          : "× " + format(Number(ratio.toPrecision(3)));
      });
    for (const c of SPEC.controls)
      if (inputs[c.name]) {
        const { input, value } = inputs[c.name],
          i = c.values.indexOf(state[c.name]);
        if (c.kind === "check") input.checked = state[c.name];
        else if (Number(input.value) !== i) input.value = i;
        if (c.kind === "slider" && value.textContent !== c.texts[i]) {
          value.textContent = c.texts[i];
          input.setAttribute("aria-valuetext", c.texts[i]);
        }
      }
    // Typesetting takes longer than all the rest: neither the first picture nor a drag waits for
    // it.
    if (!last)
      requestAnimationFrame(() => {
        slow ||= setTimeout(typeset);
      });
    else slow ||= setTimeout(typeset, 150);
    clearTimeout(said); // a screen reader hears the end of a drag, not each step
    said = setTimeout(() => {
      spoken.textContent = message ? message.text : words;
    }, 600);
    last = at;
  }

  const typeset = () => {
    slow = 0;
    write(last);
  };
  let written = null,
    symbols = [];
  function write(at) {
    // the formulas, and the same with the numbers put in
    const key = SPEC.select.map((name) => state[name]).join("|");
    if (key !== written) {
      written = key;
      symbols = [];
      formulas.replaceChildren(
        ...SPEC.formulas[key].map((f) => {
          const result = h("output", { "aria-live": "off" }),
            [open, put] = [0, 1].map(() => inLines(f.math));
          const row = h("p", {}, f.label, " ", open, " = ", put, " =\u00a0", result);
          for (const mi of put.querySelectorAll("mi[data-s]"))
            symbols.push([mi, mi.dataset.s, "exact"]);
          symbols.push([result, f.value, f.kind]);
          return row;
        }),
      );
      const letters = new Map(
        [...formulas.querySelectorAll("mi[data-s]")].map((mi) => [
          mi.textContent,
          mi.dataset.s.replaceAll("_", " "),
        ]),
      );
      const legend = [...letters]
        .filter(([letter, name]) => letter !== name && !/\d/.test(letter))
        .map(([letter, name]) => `${letter} ${name}`);
      if (legend.length) formulas.append(h("p", { class: "rk-letters" }, legend.join(" · ")));
    }
    for (const [node, name, kind] of symbols) {
      const text = format(typeof at[name] === "number" ? at[name] : Number(at[name]), kind);
      if (node.textContent !== text) node.textContent = text;
    }
    shrink();
  }

  // A fraction cannot be broken: one that is wider than its place is written smaller.
  function shrink() {
    const parts = [...formulas.querySelectorAll("math")];
    for (const part of parts) part.style.fontSize = "";
    const sizes = parts.map((part) => part.getBoundingClientRect().width * 1.02); // not all of it scales
    parts.forEach((part, i) => {
      const share = formulas.clientWidth / sizes[i];
      if (share < 1)
        part.style.fontSize = `${parseFloat(getComputedStyle(part).fontSize) * share}px`;
    });
  }

  function python() {
    const quoted = (v) =>
      typeof v === "string"
        ? JSON.stringify(v)
        : v === true
          ? "True"
          : v === false
            ? "False"
            : String(v);
    const others = (name) => CONTROLS[name].values.filter((v) => v !== state[name]);
    const listed = (name) => [state[name], ...others(name)].map(quoted).join(", ");
    const parts = SPEC.call.map((part) =>
      part.replace(/\{([^{}.]+)(\.\.\.)?\}/g, (_, name, all) =>
        all ? listed(name) : quoted(state[name]),
      ),
    );
    for (const c of SPEC.controls)
      if (c.name in SPEC.defaults && state[c.name] !== SPEC.defaults[c.name])
        parts.push(`${c.name}=${quoted(state[c.name])}`);
    if (frozen)
      parts.push(
        `frozen={${SPEC.controls.map((c) => `"${c.name}": ${quoted(frozen[c.name])}`).join(", ")}}`,
      );
    return `rk.${SPEC.name}(${parts.join(", ")})`;
  }
  async function copy() {
    const text = python();
    let done = false;
    try {
      await navigator.clipboard.writeText(text);
      done = true;
    } catch {
      const area = h("textarea", {}, text),
        focused = document.activeElement;
      root.append(area);
      area.select();
      try {
        done = document.execCommand("copy");
      } catch {
        done = false;
      }
      area.remove();
      focused?.focus(); // what is typed next belongs to the explorer, too
    }
    note.replaceChildren(done ? "Copied: " : "Copy this: ", h("code", {}, text));
  }

  function standalone() {
    // the picture with colours written into it: light, unless asked
    const copy = svg.cloneNode(true),
      look = SPEC.themes[darkFiles.checked ? "dark" : "light"];
    copy.setAttribute("xmlns", NS);
    copy.setAttribute("font-family", "DejaVu Sans, Verdana, sans-serif");
    const [, , w, hgt] = copy.getAttribute("viewBox").split(" ");
    copy.setAttribute("width", w);
    copy.setAttribute("height", hgt);
    for (const node of copy.querySelectorAll("*"))
      for (const name of ["fill", "stroke"]) {
        const role = /^var\(--rk-(\w+)\)$/.exec(node.getAttribute(name) || "");
        if (role) node.setAttribute(name, look[role[1]]);
      }
    return [new XMLSerializer().serializeToString(copy), Number(w), Number(hgt)];
  }
  function csv() {
    const view = SPEC.views[state[SPEC.show] ?? ""],
      over =
        view.marks.find((m) => m.over)?.over ?? SPEC.controls.find((c) => c.kind === "slider").name;
    const names = [
      over,
      ...new Set(
        [
          ...SPEC.table.rows.flatMap(([, ...values]) => values.map(([name]) => name)),
          ...view.marks.filter((m) => m.over).flatMap((m) => [m.x, m.y]),
        ].filter((name) => name !== over),
      ),
    ];
    const columns = SPEC.table.rows.flatMap(([, ...values]) => values);
    const bounds = new Set(columns.filter(([, kind]) => kind === "bound").map(([name]) => name));
    const cell = (name, value) => {
      if (!bounds.has(name) || Number.isNaN(value)) return String(value);
      return value >= 1 ? "compute" : "memory";
    };
    const rows = CONTROLS[over].values.map((v) => {
      const at = valuesAt({ ...state, [over]: v });
      return names.map((name) => cell(name, at[name])).join(",");
    });
    return [`# ${python()}`, names.join(","), ...rows].join("\n") + "\n";
  }
  function save(kind) {
    const give = (blob) => {
      const url = URL.createObjectURL(blob),
        a = h("a", { href: url, download: `${SPEC.name}.${kind.toLowerCase()}` });
      a.click();
      setTimeout(() => URL.revokeObjectURL(url), 1000);
      note.textContent = `Saved ${SPEC.name}.${kind.toLowerCase()}`;
    };
    if (kind === "CSV") return give(new Blob([csv()], { type: "text/csv" }));
    const [text, w, hgt] = standalone(),
      blob = new Blob([text], { type: "image/svg+xml" });
    if (kind === "SVG") return give(blob);
    const image = new Image(),
      canvas = h("canvas", { width: 2 * w, height: 2 * hgt });
    image.onload = () => {
      canvas.getContext("2d").drawImage(image, 0, 0, 2 * w, 2 * hgt);
      canvas.toBlob(give);
    };
    image.onerror = () => {
      note.textContent = "This browser cannot draw the picture as PNG; SVG works.";
    };
    image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(text);
  }
  function enlarge(on) {
    projector = on;
    large.setAttribute("aria-pressed", String(on));
    root.classList.toggle("rk-large", on);
    if (on)
      root.requestFullscreen?.().catch(() => {}); // where that is not allowed, it is only larger
    else if (document.fullscreenElement === root) document.exitFullscreen();
    update();
  }
  const left = () => {
    if (projector && !document.fullscreenElement) enlarge(false);
  };

  // The page's theme, in JupyterLab, on the course's pages, or the system's.
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => {
    const lab = document.body?.dataset.jpThemeLight,
      page = document.documentElement.dataset.theme;
    if (lab) return lab === "false";
    if (page === "dark" || page === "light") return page === "dark";
    return system.matches;
  };
  const paintTheme = () => {
    const look = SPEC.themes[dark() ? "dark" : "light"];
    for (const [role, color] of Object.entries(look)) root.style.setProperty(`--rk-${role}`, color);
    root.style.colorScheme = dark() ? "dark" : "light";
  };
  const observer = new MutationObserver(paintTheme);
  // JupyterLab's commands listen at the document: a letter that is typed here must not get there,
  // and Ctrl+S must.
  const typed = (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation();
  };
  let listening = null; // only while it is on the page: what is run again leaves nothing behind
  const listen = (on) => {
    if (on === !!listening) return;
    const change = on ? "addEventListener" : "removeEventListener";
    // A widget's sliders stand beside its chart.
    const place = on ? (root.closest(".rk-panel") ?? root) : listening;
    listening = on ? place : null;
    place[change]("keydown", typed);
    document[change]("fullscreenchange", left);
    system[change]("change", paintTheme);
    observer.disconnect();
    if (!on) return;
    for (const node of [document.body, document.documentElement])
      observer.observe(node, {
        attributes: true,
        attributeFilter: ["data-jp-theme-light", "data-theme"],
      });
    paintTheme();
  };
  const fit = () => {
    const room = Math.round(figure.clientWidth);
    if (room >= 50 && Math.max(320, room) !== width) {
      width = Math.max(320, room);
      update();
    }
  };
  const resize = new ResizeObserver(() => {
    listen(root.isConnected);
    cancelAnimationFrame(pending);
    pending = requestAnimationFrame(fit);
  });
  resize.observe(figure);
  paintTheme();
  listen(root.isConnected);
  keep(frozen, true);
  fit();
  if (!last) update();
  return {
    set(next, ghost) {
      state = { ...state, ...next };
      if (ghost !== undefined) keep(ghost, true);
      update();
    },
    refuse(text) {
      // what Python was asked for and did not do
      note.textContent = text;
      note.classList.toggle("rk-refused", !!text);
    },
    state: () => ({ ...state }),
    frozen: () => frozen,
    python,
    csv,
    values: () => last,
    valuesAt,
    messageAt,
    drawn, // of any state: what the tests compare with Python
    remove() {
      listen(false);
      resize.disconnect();
      clearTimeout(said);
      clearTimeout(slow);
      cancelAnimationFrame(pending);
    },
  };
}

// --- two shells ---

// In the stored output: the still picture gives way to the live one. State survives a reload of the
// page, not a new run.
function liven(key, css) {
  if (!document.getElementById("roofline-style"))
    document.head.append(h("style", { id: "roofline-style" }, css));
  // of equal explorers in this page load
  const places = ((window.rooflineExplorers ??= {})[key] ??= []);
  for (const root of document.querySelectorAll(`[data-rk="${key}"]:not([data-live])`)) {
    root.dataset.live = "";
    const gone = places.findIndex((other) => !other.isConnected),
      place = gone < 0 ? places.length : gone;
    places[place] = root;
    const still = root.firstElementChild,
      live = h("div"),
      store = `roofline:${location.pathname}:${key}:${place}`;
    let saved = {};
    try {
      if (gone < 0) saved = JSON.parse(sessionStorage.getItem(store)) ?? {};
    } catch {
      saved = {};
    }
    const known = (s) => s && SPEC.controls.every((c) => c.values.includes(s[c.name]));
    root.append(live);
    try {
      root.explorer = mount(live, {
        controls: true,
        state: known(saved.state) ? saved.state : {},
        frozen: known(saved.frozen) ? saved.frozen : undefined,
        changed(state, frozen) {
          try {
            sessionStorage.setItem(store, JSON.stringify({ state, frozen }));
          } catch {
            /* a page that may not store anything */
          }
        },
      });
      still.hidden = true;
    } catch (error) {
      live.replaceChildren(
        h(
          "p",
          { role: "alert" },
          `The explorer cannot run here: ${error.message}. This is its picture.`,
        ),
      );
    }
  }
}

// As a widget: ipywidgets' sliders and dropdowns move the picture, in the browser, and Reset moves
// them.
async function render({ model, el }) {
  const root = h("div"),
    inputs = {};
  el.append(root);
  for (const [name, id] of Object.entries(model.get("controls")))
    inputs[name] = await model.widget_manager.get_model(id.replace("IPY_MODEL_", ""));
  const stops = (c) => inputs[c.name].get("stops") ?? c.values; // a slider may have got one more
  const read = () =>
    Object.fromEntries(SPEC.controls.map((c) => [c.name, stops(c)[inputs[c.name].get("index")]]));
  let live = null,
    moving = false;
  const changed = (state, frozen) => {
    moving = true;
    for (const c of SPEC.controls) {
      const input = inputs[c.name],
        index = stops(c).indexOf(state[c.name]);
      if (input.get("index") === index) continue;
      input.set("index", index);
      input.save_changes();
    }
    model.set("frozen", frozen);
    model.save_changes();
    moving = false;
  };
  try {
    live = mount(root, { controls: false, state: read(), frozen: model.get("frozen"), changed });
    root.explorer = live;
  } catch (error) {
    const words = `The explorer cannot run here: ${error.message}.`;
    root.replaceChildren(h("p", { role: "alert" }, words));
    return undefined;
  }
  const follow = () => {
    if (!moving) live.set(read(), model.get("frozen"));
  };
  const tell = () => live.refuse(model.get("refused"));
  for (const input of Object.values(inputs)) input.on("change:index change:stops", follow);
  model.on("change:frozen", follow);
  model.on("change:refused", tell);
  tell();
  return () => {
    for (const input of Object.values(inputs)) input.off("change:index change:stops", follow);
    live.remove();
  };
}
