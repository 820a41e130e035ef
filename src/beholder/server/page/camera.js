// A photo from the machine's camera; on phones, and where pages may not use it, the system's own camera by way of a file input.
import { counted, overlay, told } from "./boxes.js";
import { say } from "./strings.js";

const $ = id => document.getElementById(id);
const SIDE = 960, PAUSE = 60;
let stream = null, facing = "environment", taken = 0, give = () => {}, finder = () => null;

function close() {
  stream?.getTracks().forEach(track => track.stop());
  stream = null;
  $("video").srcObject = null;
  clean();
  if ($("camera").open) $("camera").close();
}

function why(error) {
  if (error.name === "NotAllowedError" || error.name === "SecurityError") return say("no_leave");
  return say(error.name === "NotFoundError" || error.name === "OverconstrainedError" ? "no_camera" : "camera_fails");
}

async function start() {
  stream?.getTracks().forEach(track => track.stop());
  $("take").disabled = true;
  $("camera-words").hidden = true;
  try {
    const found = await navigator.mediaDevices.getUserMedia({ audio: false, video: { facingMode: facing, width: { ideal: 1920 }, height: { ideal: 1440 } } });
    if (!$("camera").open) return found.getTracks().forEach(track => track.stop());
    stream = found;
    $("video").srcObject = stream;
    await $("video").play();
    $("take").disabled = false;
    $("take").focus();
    look(stream);
    const all = await navigator.mediaDevices.enumerateDevices();
    $("turn").hidden = all.filter(device => device.kind === "videoinput").length < 2;
  } catch (error) {
    if (!$("camera").open) return;
    $("camera-words").textContent = why(error);
    $("camera-words").hidden = false;
    $("camera-close").focus();
  }
}

// A JPEG of what the camera sees now, at most `side` pixels wide and high; null where there is nothing yet.
function frame(side, quality) {
  const video = $("video"), canvas = document.createElement("canvas"), scale = Math.min(1, side / Math.max(1, video.videoWidth, video.videoHeight));
  canvas.width = Math.round(scale * video.videoWidth);
  canvas.height = Math.round(scale * video.videoHeight);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise(done => canvas.toBlob(done, "image/jpeg", quality));
}

async function take() {
  const blob = await frame(Infinity, 0.95);
  close();
  if (blob) give([new File([blob], `${say("camera_name", { n: ++taken })}.jpg`, { type: "image/jpeg" })]);
}

function clean() {
  for (const old of $("view").querySelectorAll("svg")) old.remove();
  $("camera-found").hidden = true;
}

const later = ms => new Promise(done => setTimeout(done, ms));

// While the camera of `mine` runs and the model finds boxes: one picture after the other is asked about, and its boxes drawn.
async function look(mine) {
  for (let found = finder(); found && stream === mine; found = finder()) {
    try {
      const blob = await frame(SIDE, 0.85), began = performance.now();
      if (!blob) { await later(PAUSE); continue; }
      const answer = await found.ask(blob);
      if (stream !== mine) return;
      const boxes = told(answer, found.model);
      clean();
      $("view").append(overlay(answer, boxes, found.model, $("view")));
      $("camera-found").textContent = `${counted(boxes) || say("nothing_found")} · ${Math.round(performance.now() - began)} ms`;
      $("camera-found").hidden = false;
      await later(PAUSE);
    } catch (trouble) { // the server is busy, or away: the camera goes on without boxes
      if (stream === mine) clean();
      await later(1000 * Math.max(1, trouble.after || 0));
    }
  }
}

// Make the buttons work; `given` gets what is photographed, a list of one file. finding(): {model, ask(blob)} where the model finds boxes.
export function photographs(given, finding) {
  give = given;
  finder = finding;
  $("photograph").addEventListener("click", () => {
    if (!navigator.mediaDevices?.getUserMedia || matchMedia("(pointer: coarse)").matches) return $("shutter").click();
    $("camera").showModal();
    start();
  });
  $("take").addEventListener("click", take);
  $("turn").addEventListener("click", () => { facing = facing === "user" ? "environment" : "user"; start(); });
  $("camera-close").addEventListener("click", close);
  $("camera").addEventListener("close", close);
}
