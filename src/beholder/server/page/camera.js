// A photo from the machine's camera; on phones, and where pages may not use it, the system's own camera by way of a file input.
import { say } from "./strings.js";

const $ = id => document.getElementById(id);
let stream = null, facing = "environment", taken = 0, give = () => {};

function close() {
  stream?.getTracks().forEach(track => track.stop());
  stream = null;
  $("video").srcObject = null;
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
    const all = await navigator.mediaDevices.enumerateDevices();
    $("turn").hidden = all.filter(device => device.kind === "videoinput").length < 2;
  } catch (error) {
    if (!$("camera").open) return;
    $("camera-words").textContent = why(error);
    $("camera-words").hidden = false;
    $("camera-close").focus();
  }
}

function take() {
  const video = $("video"), canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob(blob => {
    close();
    if (blob) give([new File([blob], `${say("camera_name", { n: ++taken })}.jpg`, { type: "image/jpeg" })]);
  }, "image/jpeg", 0.95);
}

// Make the buttons work; `given` gets what is photographed, a list of one file.
export function photographs(given) {
  give = given;
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
