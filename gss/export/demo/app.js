// The page of `gss demo`: reads a photo, runs the network, shows what it says. Facts and data come from classic
// scripts, so that the page also works from a folder that is opened without a server.
"use strict";

const facts = window.GSS_FACTS;
const [HEIGHT, WIDTH] = facts.size;
const MOST_PIXELS = 50e6;
const VIEWS = [
  ["mask", "Mask"],
  ...(facts.outputs.includes("maskige") ? [["maskige", "Maskige"]] : []),
  ["confidence", "Confidence"],
  ["ood", "Unknown"],
  ["photo", "Photo alone"],
];
const byId = (id) => document.getElementById(id);
const state = {
  ...{ session: null, photo: null, result: null, layers: {}, view: "mask", pointer: null },
  ...{ busy: false, next: null }, // whether a photo is read or segmented, and the file that waits for it
};

// ---- Messages -------------------------------------------------------------------------------------------------------
function say(text) {
  byId("status").textContent = text;
}

function fail(text) {
  byId("error").textContent = text;
  byId("error").hidden = !text;
}

// ---- Loading --------------------------------------------------------------------------------------------------------
function script(source) {
  return new Promise((resolve, reject) => {
    const element = document.createElement("script");
    element.src = source;
    element.onload = resolve;
    element.onerror = () => reject(new Error(`the file ${source} of this page is missing`));
    document.head.append(element);
  });
}

function bytes(base64) {
  const text = atob(base64);
  const array = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) array[i] = text.charCodeAt(i);
  return array;
}

// A module with one SIMD instruction, as in wasm-feature-detect.
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253,
  98, 11];

async function load() {
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(new Uint8Array(SIMD))) {
    throw new Error("this browser lacks WebAssembly SIMD; use a browser of 2021 or later");
  }
  for (const name of ["runtime.js", "wasm.js", "model.js"]) await script(name);
  const code = new Blob([bytes(window.GSS_RUNTIME)], { type: "text/javascript" });
  const address = URL.createObjectURL(code);
  const ort = await import(address);
  URL.revokeObjectURL(address);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = bytes(window.GSS_WASM);
  state.session = await ort.InferenceSession.create(bytes(window.GSS_MODEL), { executionProviders: ["wasm"] });
  state.Tensor = ort.Tensor;
  window.GSS_RUNTIME = window.GSS_WASM = window.GSS_MODEL = null;
}

// ---- Photos ---------------------------------------------------------------------------------------------------------
// Width and height that the head of a file claims, before anything is decoded; null for formats not known here.
function claimedSize(head) {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const text = (at, length) => String.fromCharCode(...head.subarray(at, at + length));
  if (head.length > 24 && text(1, 3) === "PNG") return [view.getUint32(16), view.getUint32(20)];
  if (head.length > 10 && text(0, 3) === "GIF") return [view.getUint16(6, true), view.getUint16(8, true)];
  if (head.length > 26 && text(0, 2) === "BM") return [view.getInt32(18, true), Math.abs(view.getInt32(22, true))];
  if (head.length > 30 && text(8, 4) === "WEBP") {
    const kind = text(12, 4);
    if (kind === "VP8X") {
      const three = (at) => view.getUint16(at, true) + (head[at + 2] << 16) + 1;
      return [three(24), three(27)];
    }
    if (kind === "VP8 ") return [view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff];
    if (kind === "VP8L") {
      const bits = view.getUint32(21, true);
      return [(bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1];
    }
  }
  if (head.length > 4 && view.getUint16(0) === 0xffd8) {
    for (let at = 2; at + 9 < head.length && head[at] === 0xff; at += 2 + view.getUint16(at + 2)) {
      const marker = head[at + 1];
      const start = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
      if (start) return [view.getUint16(at + 7), view.getUint16(at + 5)];
    }
  }
  return null;
}

// Open a file, or keep it until the network is loaded and free; of several that wait, the last one.
async function open(file) {
  fail("");
  if (!state.session || state.busy) {
    state.next = file;
    say(state.session ? `${file.name} is next…` : `Loading the network… ${file.name} is segmented as soon as it is there.`);
    return;
  }
  state.busy = true;
  const photo = await read(file);
  state.busy = false;
  if (photo) await segment(photo);
  else openNext();
}

// The photo in a file; null, with a message, where there is none.
async function read(file) {
  const head = new Uint8Array(await file.slice(0, 1 << 20).arrayBuffer());
  const claimed = claimedSize(head);
  if (claimed && claimed[0] * claimed[1] > MOST_PIXELS) {
    fail(`${file.name} claims ${claimed[0]} x ${claimed[1]} pixels; photos may have up to ${MOST_PIXELS / 1e6} million`);
    return null;
  }
  let photo;
  try {
    photo = await createImageBitmap(file);
  } catch {
    fail(`${file.name} is not an image that this browser can read`);
    return null;
  }
  if (photo.width * photo.height > MOST_PIXELS) {
    fail(`${file.name} has ${photo.width} x ${photo.height} pixels; photos may have up to ${MOST_PIXELS / 1e6} million`);
    return null;
  }
  return photo;
}

function newCanvas(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

// The photo at the size of the network, aspect ratio kept, the border repeated to the right and below.
function fitted(photo) {
  const scale = Math.min(WIDTH / photo.width, HEIGHT / photo.height);
  const w = Math.max(1, Math.min(WIDTH, Math.round(photo.width * scale)));
  const h = Math.max(1, Math.min(HEIGHT, Math.round(photo.height * scale)));
  const canvas = newCanvas(WIDTH, HEIGHT);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillRect(0, 0, WIDTH, HEIGHT); // transparent photos lie on black, as in Python
  context.imageSmoothingQuality = "high";
  context.drawImage(photo, 0, 0, w, h);
  if (w < WIDTH) context.drawImage(canvas, w - 1, 0, 1, h, w, 0, WIDTH - w, h);
  if (h < HEIGHT) context.drawImage(canvas, 0, h - 1, WIDTH, 1, 0, h, WIDTH, HEIGHT - h);
  const { data } = context.getImageData(0, 0, WIDTH, HEIGHT);
  const area = WIDTH * HEIGHT;
  const values = new Float32Array(3 * area);
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) values[c * area + i] = data[4 * i + c] / 255;
  }
  return { values, w, h };
}

function openNext() {
  const file = state.next;
  state.next = null;
  if (file) open(file);
}

async function segment(photo) {
  if (state.busy || !state.session) return;
  state.busy = true;
  say("Segmenting…");
  await new Promise((resolve) => setTimeout(resolve, 30)); // the message is shown before the network runs
  try {
    const started = performance.now();
    const { values, w, h } = fitted(photo);
    const out = await state.session.run({ image: new state.Tensor("float32", values, [1, 3, HEIGHT, WIDTH]) });
    const data = {};
    facts.outputs.forEach((name) => (data[name] = out[name].data));
    state.photo = photo;
    state.result = { ...data, w, h };
    paintLayers();
    describe((performance.now() - started) / 1000);
    byId("result").hidden = false;
    draw();
  } catch (error) {
    fail(`the network failed: ${error.message || error}`);
    say("");
  } finally {
    state.busy = false;
    openNext();
  }
}

// ---- Pictures -------------------------------------------------------------------------------------------------------
function layer(color) {
  const { w, h } = state.result;
  const canvas = newCanvas(w, h);
  const context = canvas.getContext("2d");
  const picture = context.createImageData(w, h);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const painted = color(y * WIDTH + x); // null leaves the photo alone
      if (painted) picture.data.set([...painted, 255], 4 * (y * w + x));
    }
  }
  context.putImageData(picture, 0, 0);
  return canvas;
}

function range(values) {
  const { w, h } = state.result;
  let [low, high] = [Infinity, -Infinity];
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const value = values[y * WIDTH + x];
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  return [low, high > low ? high : low + 1];
}

function paintLayers() {
  const { labels, confidence, ood, maskige } = state.result;
  const area = WIDTH * HEIGHT;
  const grey = (value) => Math.round(255 * Math.min(1, Math.max(0, value)));
  const [low, high] = facts.range || range(ood);
  state.layers = {
    mask: layer((i) => (facts.background.includes(labels[i]) ? null : facts.colors[labels[i]])),
    confidence: layer((i) => Array(3).fill(grey(confidence[i]))),
    ood: layer((i) => facts.heat[grey((ood[i] - low) / (high - low))]),
  };
  if (maskige) state.layers.maskige = layer((i) => [maskige[i], maskige[area + i], maskige[2 * area + i]]);
}

function draw() {
  const canvas = byId("canvas");
  const { photo, result } = state;
  const scale = Math.min(1, 1600 / Math.max(photo.width, photo.height));
  canvas.width = Math.max(1, Math.round(photo.width * scale));
  canvas.height = Math.max(1, Math.round(photo.height * scale));
  const context = canvas.getContext("2d");
  context.drawImage(photo, 0, 0, canvas.width, canvas.height);
  if (state.view !== "photo") {
    context.globalAlpha = byId("opacity").value / 100;
    context.imageSmoothingEnabled = state.view === "ood" || state.view === "confidence";
    context.drawImage(state.layers[state.view], 0, 0, canvas.width, canvas.height);
    context.globalAlpha = 1;
  }
  if (state.pointer) {
    const x = ((state.pointer.x + 0.5) / result.w) * canvas.width;
    const y = ((state.pointer.y + 0.5) / result.h) * canvas.height;
    const radius = Math.max(6, canvas.width / 80);
    for (const [color, width] of [["#000", 5], ["#fff", 2]]) {
      context.strokeStyle = color;
      context.lineWidth = width;
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.stroke();
    }
  }
}

// ---- Words ----------------------------------------------------------------------------------------------------------
const percent = (value) => `${(100 * value).toFixed(1)} %`;

function describe(seconds) {
  const { labels, ood, w, h } = state.result;
  const counts = facts.labels.map(() => 0);
  let alarms = 0;
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      counts[labels[y * WIDTH + x]]++;
      if (facts.threshold !== null && ood[y * WIDTH + x] >= facts.threshold) alarms++;
    }
  }
  const order = facts.labels.map((_, i) => i).sort((a, b) => counts[b] - counts[a]);
  byId("legend").replaceChildren(
    ...order.map((index) => {
      const item = document.createElement("li");
      const [chip, name, share] = ["chip", "name", "share"].map((kind) => {
        const part = document.createElement("span");
        part.className = kind;
        return part;
      });
      chip.style.background = `rgb(${facts.colors[index].join(",")})`;
      name.textContent = facts.labels[index]; // never as HTML
      share.textContent = percent(counts[index] / (w * h));
      item.className = counts[index] ? "" : "absent";
      item.append(chip, name, share);
      return item;
    }),
  );
  const seen = order.filter((index) => counts[index]).slice(0, 3);
  const words = seen.map((index) => `${facts.labels[index]} ${percent(counts[index] / (w * h))}`);
  say(`Segmented in ${seconds.toFixed(1)} s: ${words.join(", ")}.`);
  byId("alarms").hidden = facts.threshold === null;
  if (facts.threshold !== null) {
    byId("alarms").textContent =
      `Alarms: ${percent(alarms / (w * h))} of the pixels look unknown (${percent(facts.rate)} do in training images).`;
  }
  state.pointer = null;
}

function point(x, y) {
  const { labels, probabilities, ood, w, h } = state.result;
  x = Math.min(w - 1, Math.max(0, x));
  y = Math.min(h - 1, Math.max(0, y));
  state.pointer = { x, y };
  const index = labels[y * WIDTH + x];
  const probability = probabilities[(index * HEIGHT + y) * WIDTH + x];
  const unknown = facts.threshold !== null && ood[y * WIDTH + x] >= facts.threshold ? ", looks unknown" : "";
  byId("pointer").textContent = `${facts.labels[index]}, probability ${percent(probability)}${unknown}`;
  draw();
}

// ---- Controls -------------------------------------------------------------------------------------------------------
function wire() {
  for (const [value, title] of VIEWS) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name: "view", value, checked: value === state.view });
    input.addEventListener("change", () => {
      state.view = value;
      draw();
    });
    label.append(input, title);
    byId("views").append(label);
  }
  byId("opacity").addEventListener("input", draw);
  byId("file").addEventListener("change", (event) => {
    if (event.target.files.length) open(event.target.files[0]);
    event.target.value = "";
  });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      byId("drop").classList.toggle("over", kind === "dragover");
      if (kind !== "drop") return;
      const file = event.dataTransfer.files[0];
      if (file) open(file);
      else fail("what was dropped is not a file");
    });
  }
  const canvas = byId("canvas");
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const { w, h } = state.result;
    const [across, down] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    point(Math.floor(across * w), Math.floor(down * h));
  });
  canvas.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 10 : 1;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (!moves[event.key]) return;
    event.preventDefault();
    const at = state.pointer || { x: state.result.w >> 1, y: state.result.h >> 1 };
    point(at.x + moves[event.key][0], at.y + moves[event.key][1]);
  });
  let stream = null;
  const close = () => {
    if (stream) stream.getTracks().forEach((track) => track.stop());
    stream = null;
    byId("live").hidden = true;
    byId("camera").focus();
  };
  byId("camera").addEventListener("click", async () => {
    fail("");
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch {
      fail("there is no camera, or this page may not use it");
      return;
    }
    byId("live").hidden = false;
    byId("video").srcObject = stream;
    await byId("video").play();
    byId("snap").focus();
  });
  byId("snap").addEventListener("click", async () => {
    const photo = await createImageBitmap(byId("video"));
    close();
    await segment(photo);
  });
  byId("stop").addEventListener("click", close);
}

wire();
load().then(
  () => {
    fail("");
    say("Ready.");
    openNext();
  },
  (error) => {
    state.next = null;
    say("");
    fail(`This page cannot run: ${error.message || error}`);
  },
);
