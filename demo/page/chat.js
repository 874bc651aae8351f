// The chat page: a client of the demo chat service, in plain JavaScript.
import { connect } from "./crossgate.js";

const byId = (id) => document.getElementById(id);
const STILL_HERE_MS = 60_000;
// How many message lines and how many ids of shown messages the page keeps.
const KEEP = 500;
// How long the page waits before it asks the service again: after a restart the gateway may be there before the service is.
const SHORTEST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 5000;

const state = byId("state");
const STATE_TEXT = { connecting: "Connecting", open: "Connected", closed: "Not connected; trying again" };

function showState(name) {
  state.dataset.state = name;
  state.textContent = STATE_TEXT[name];
  byId("send").disabled = name !== "open";
}

function showProblem(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = !text;
}

const shown = new Set();

// show adds one message of the chat service to the list, once however often it comes: a page that connects again is
// told what it missed together with what it saw.
function show(message) {
  if (shown.has(message.id)) return;
  shown.add(message.id);
  if (shown.size > KEEP) shown.delete(shown.values().next().value);

  const list = byId("messages");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const line = document.createElement("li");
  if (message.kind === "said") {
    const from = document.createElement("b");
    from.textContent = message.from;
    line.append(from, message.text);
  } else {
    line.className = "notice";
    line.append(`${message.from} ${message.kind === "joined" ? "is here" : "is gone"}`);
  }
  const time = document.createElement("time");
  time.dateTime = message.time;
  time.textContent = new Date(message.time).toLocaleTimeString([], { timeStyle: "short" });
  line.append(time);
  list.append(line);
  while (list.childElementCount > KEEP) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function showMembers(names) {
  byId("members").replaceChildren(...names.map((name) => {
    const item = document.createElement("li");
    item.textContent = name;
    return item;
  }));
}

let room = /^#[a-z0-9-]{1,32}$/.test(location.hash) ? location.hash.slice(1) : "lobby";
let name = sessionStorage.getItem("name") || `guest-${1000 + Math.floor(Math.random() * 9000)}`;
let subscription; // to the room's channel
let held = null; // what the channel tells while the room is being entered: it comes after the room's history
let visit = 0; // counts what enter does, so that a newer call ends an older one

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const connection = connect("./ws", { minDelay: SHORTEST_WAIT_MS, maxDelay: LONGEST_WAIT_MS, transports: ["websocket"] });

// enter joins the room at the service, which tells who is there and what was said. It tries until it is answered.
async function enter() {
  const mine = ++visit;
  const current = () => mine === visit && connection.state === "connected";
  held = [];
  for (let wait = SHORTEST_WAIT_MS; current(); wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
    try {
      const { members, messages } = await connection.request("chat.join", { room, name }, { timeout: LONGEST_WAIT_MS });
      if (!current()) return;
      showProblem("");
      showMembers(members);
      [...messages, ...held].forEach(show);
      held = null;
      showState("open");
      return;
    } catch (error) {
      if (!current()) return;
      showProblem(`The room cannot be entered: ${error.message}`);
      await pause(wait);
    }
  }
}

// follow subscribes to the room's channel. Whenever that stands, also on a new connection, the room is entered.
function follow() {
  subscription = connection.subscribe(`room:${room}`, {
    subscribed: enter,
    message(message) {
      if (held) held.push(message);
      else show(message);
      if (message.members) showMembers(message.members);
    },
    error: (error) => showProblem(`The room cannot be entered: ${error.message}`),
  });
}

connection.addEventListener("state", ({ state }) => {
  if (state !== "connected") showState(state === "connecting" ? "connecting" : "closed");
});
connection.addEventListener("bus", ({ up }) => {
  if (up) enter(); // which tells what was missed
  else showProblem("The gateway has lost its bus; messages wait until it is back");
});
follow();

byId("room").value = room;
byId("name").value = name;

byId("join").addEventListener("submit", (event) => {
  event.preventDefault();
  const left = room;
  room = byId("room").value;
  name = byId("name").value.trim() || name;
  sessionStorage.setItem("name", name);
  if (room === left) {
    enter();
  } else {
    location.hash = room;
    byId("messages").replaceChildren();
    shown.clear();
    subscription.unsubscribe();
    connection.send("chat.leave", { room: left });
    follow();
  }
  byId("text").focus();
});

byId("compose").addEventListener("submit", async (event) => {
  event.preventDefault();
  const input = byId("text");
  const text = input.value.trim();
  if (!text) return;
  input.value = "";
  try {
    await connection.request("chat.send", { room, text });
    showProblem("");
  } catch (error) {
    showProblem(`Not sent: ${error.message}`);
    if (!input.value) input.value = text;
  }
});

// The service forgets a member that does not say from time to time that it is still there.
setInterval(() => connection.send("chat.join", { room, name }), STILL_HERE_MS);
