// A class: students give a name and may be shown their teacher's training; the teacher, who has the
// class's secret in the address, has its board and says whether all follow. Only served to a class.
import { prepareBoard, showBoard } from "./board.js";
import { $, $$, hear, make, setText } from "./dom.js";
import { showTeacher, wordFollowing } from "./follow.js";
import { recall, remember } from "./memory.js";
import { showNotice } from "./notices.js";
import { own } from "./scenes.js";
import { ask } from "./server.js";
import { text } from "./words.js";

const BOARD_PAUSE = 1000, PAUSE = 5000; // ms between two questions of the teacher's page
const token = new URLSearchParams(location.search).get("class");

export async function openClassroom(markup, showScene) {
  const parts = make("template");
  parts.innerHTML = markup;
  $(".cp").classList.add("in-class");
  $(".switches").prepend(...$$(".own-name, .teacher", parts.content));
  $(".bar").after(...$$(".following, .board", parts.content));
  const refusal = token === null ? null : (await ask("teach", { token })).notice;
  if (token !== null && refusal?.key !== "not the teacher") return beTeacher(showScene);
  if (refusal) showNotice(refusal, own);
  return beStudent(showScene);
}

// A student's page.

let number = null;

function beStudent(showScene) {
  const field = $("[data-do=own-name]");
  $(".own-name").hidden = false;
  field.value = recall("name") ?? "";
  field.addEventListener("change", () => join(field.value));
  hear("attached", (scene) => scene === own && join(recall("name")));
  hear("entered", ({ run }) => run && join(recall("name")));
  hear("worded", () => {
    wordName();
    wordFollowing();
  });
  hear("teacher", (snapshot) => showTeacher(snapshot, showScene));
}

// Say which run this page shows, and what its student wants to be called.
async function join(name) {
  const field = $("[data-do=own-name]");
  const reply = await ask("join", { run: own.run, student: recall("student"), name });
  if (["refused", "class full"].includes(reply.notice?.key)) showNotice(reply.notice, own);
  if (!reply.student) return;
  if (own.notice?.name === "student") showNotice(null, own); // another name was refused before
  number = reply.number;
  remember("student", reply.student);
  remember("name", reply.name);
  if (document.activeElement !== field) field.value = reply.name;
  wordName();
}

function wordName() {
  $("[data-do=own-name]").placeholder = number ? text("student", { n: number }) : text("name student");
}

// The teacher's page.

let isFollowed = false, board = null; // the newest board, for other words

async function beTeacher(showScene) {
  for (const button of $$(".teacher")) button.hidden = false;
  prepareBoard();
  const shut = () => {
    openBoard(false);
    showScene(); // in the room and the words of now
  };
  $("[data-do=class]").addEventListener("click", () => ($(".board").hidden ? openBoard(true) : shut()));
  $(".scenes").addEventListener("click", shut);
  $("[data-do=follow-me]").addEventListener("click", () => teach({ on: !isFollowed, run: own.run }));
  hear("attached", (scene) => scene === own && teach({ run: own.run }));
  hear("entered", ({ run }) => run && teach({ run }));
  hear("worded", () => board && showBoard(board));
  openBoard(recall("board") === "open");
}

let timer = 0;

// A page behind another one, or with the board, does not say whose run is followed.
async function tick() {
  if (!$(".board").hidden) await look();
  else await teach(document.visibilityState === "visible" ? { run: own.run } : {});
  clearTimeout(timer);
  timer = setTimeout(tick, $(".board").hidden ? PAUSE : BOARD_PAUSE);
}

function openBoard(on) {
  remember("board", on ? "open" : "shut");
  $(".board").hidden = !on;
  $(".columns").hidden = $(".columns").inert = on;
  $("[data-do=class]").setAttribute("aria-pressed", String(on));
  tick();
}

async function teach(given) {
  showFollowing(await ask("teach", { token, ...given }));
}

async function look() {
  const reply = await ask("board", { token });
  showFollowing(reply);
  if (!reply.rows) return;
  board = reply;
  showBoard(board);
}

function showFollowing({ following }) {
  if (following === undefined) return; // no answer: as it was
  isFollowed = following;
  $("[data-do=follow-me]").setAttribute("aria-pressed", String(isFollowed));
  setText($(".board-follow"), isFollowed ? text("help follow me on") : "");
}
