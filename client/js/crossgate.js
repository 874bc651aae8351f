// The browser client of Crossgate's WebSocket bridge: connections that come back by themselves, subscriptions that miss
// nothing, requests and their replies. One file, no dependencies; types are in crossgate.d.ts, the manual is
// docs/client.md and the protocol docs/websocket.md, both of Crossgate.
//
// @license Apache-2.0

const SUBPROTOCOL = "crossgate.v1.json";
// setTimeout fires at once for anything longer.
const LONGEST_TIMER_MS = 2 ** 31 - 1;
// A connection that lasted this long was a good one: the next loss is the first again.
const STABLE_MS = 5000;
// How often a transport may fail, while none has ever worked, before the next one is tried.
const TRIES = 2;
// How often a POST of the transport sse is sent again, and how many characters of frames go together in one.
const POSTS = 5;
const POST_SIZE = 2 ** 17;
// What may be asked for again after a while, as the table of errors in docs/websocket.md has it.
const TRANSIENT = new Set(["unavailable", "resource_exhausted", "deadline_exceeded", "unauthenticated"]);

const TOKEN_EXPIRED = 4001;
const REVOKED = 4003;
const SLOW_CONSUMER = 4008;
const UNRESPONSIVE = 4009;
const DRAINING = 4010;
const MESSAGE_TOO_BIG = 1009;
const ABNORMAL = 1006;

const DEFAULTS = {
  token: undefined,
  tokenPrefix: "bearer.",
  tokenQuery: undefined,
  refreshAhead: 30_000,
  transports: ["websocket", "sse"],
  fetch: (...args) => globalThis.fetch(...args),
  credentials: "same-origin",
  minDelay: 250,
  maxDelay: 20_000,
  openTimeout: 10_000,
  requestTimeout: 15_000,
  pingInterval: 25_000,
  pingTimeout: 10_000,
  maxWaiting: 1000,
  isFinal,
};

/** connect opens a connection to a WebSocket route of a gateway and keeps it open until it is closed for good. */
export function connect(url, options) {
  const connection = new Connection(url, options);
  connection.connect();
  return connection;
}

/** isFinal tells the close codes after which connecting again would end the same way, or is not wanted. */
export function isFinal(code) {
  switch (code) {
    case TOKEN_EXPIRED: // a new token is asked for; without one it is the end
    case REVOKED:
    case SLOW_CONSUMER:
    case UNRESPONSIVE:
    case DRAINING:
      return false;
    case 1000: // the service or an operator has ended it
    case 1002: // this side is broken
    case 1003:
    case 1007:
      return true;
  }
  return code >= 3000; // a code of the service's own choice, which 4005 stands for
}

/** CrossgateError is a refusal by the gateway or the service, or what became of a request without an answer. */
export class CrossgateError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "CrossgateError";
    this.code = code;
  }
}

// An event of a connection. What it tells are its properties.
class ConnectionEvent extends Event {
  constructor(type, properties) {
    super(type);
    Object.assign(this, properties);
  }
}

/** Connection is one session with the gateway, on one transport after another. */
export class Connection extends EventTarget {
  #url;
  #options;
  #state = "closed";
  #link = null; // the transport that is open or opens
  #turn = 0; // counts links, so that what an older one still does is of no account
  #timer; // of the next attempt, while it waits
  #openTimer;
  #attempts = 0;
  #openedAt = null;
  #everOpened = false;
  #transport = 0;
  #failures = 0; // of this transport
  #goaway; // the timer after which the gateway wants this client to connect anew
  #token;
  #tokenReason = "connect";
  #refreshTimer;
  #beat;
  #heard = 0;
  #pinged = null;
  #waiting = new Map(); // requests without an answer, by id
  #nextId = 1;
  #largestSent = 0; // of what has no id, on this link
  #name = randomName(); // with a number behind it, it names a message to deliver
  #channels = new Map();
  #surroundings = null; // ends what listens to the browser

  constructor(url, options = {}) {
    super();
    const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
    this.#options = { ...DEFAULTS, WebSocket: globalThis.WebSocket, client: this.#name, ...given };
    this.#url = new URL(url, globalThis.location?.href);
    this.#options.transports = this.#options.transports.filter((name) => name !== "websocket" || this.#options.WebSocket);
    if (this.#options.transports.length === 0) {
      throw new TypeError("crossgate: there is no WebSocket here; pass one as options.WebSocket");
    }
  }

  /** state is connecting, connected, reconnecting or closed. */
  get state() {
    return this.#state;
  }

  /** transport is the name of the transport in use. */
  get transport() {
    return this.#options.transports[this.#transport];
  }

  /** connect opens a connection that is closed. */
  connect() {
    if (this.#state !== "closed") return;
    this.#attempts = 0;
    this.#tokenReason = "connect";
    this.#watchSurroundings();
    this.#become("connecting");
    this.#open();
  }

  /** close ends the connection for good; what waits for an answer is rejected. */
  close(code = 1000, reason = "") {
    if (this.#state !== "closed") this.#end(code, reason);
  }

  /** opened resolves once the connection is open, and rejects once it is closed for good. */
  opened() {
    return new Promise((resolve, reject) => {
      const look = (event) => {
        if (this.#state === "connected") resolve();
        else if (this.#state === "closed") reject(new CrossgateError("closed", `the connection is closed: ${event?.code ?? 1000} ${event?.reason ?? ""}`));
        else return;
        this.removeEventListener("state", look);
      };
      this.addEventListener("state", look);
      look();
    });
  }

  /** request sends a message to the service and resolves to the data of its reply. */
  request(route, data, { timeout = this.#options.requestTimeout, signal } = {}) {
    return this.#promise({ type: "message", route, ...payload(data) }, { timeout, signal, kind: "request" });
  }

  /** send sends a message that nobody answers, at most once. It reports false, and drops it, when there is no connection. */
  send(route, data) {
    if (this.#state !== "connected") return false;
    const text = JSON.stringify({ type: "message", route, ...payload(data) });
    this.#largestSent = Math.max(this.#largestSent, text.length);
    this.#link.send(text);
    return true;
  }

  /**
   * deliver sends a message to a route whose delivery is at_least_once, with the same id on one connection after another,
   * until the gateway has acknowledged it.
   */
  async deliver(route, data, { timeout, signal, id = `${this.#name}-${this.#nextId++}` } = {}) {
    const message = { id, type: "message", client: this.#options.client, route, ...payload(data) };
    const { duplicate = false, unattended = false } = await this.#promise(message, { timeout, signal, kind: "delivery" });
    return { duplicate, unattended };
  }

  /** presence resolves to who subscribes to a channel. */
  async presence(channel, { timeout = this.#options.requestTimeout, signal, token, limit, next, countOnly } = {}) {
    const question = { type: "presence", channel, token, limit, next, count_only: countOnly };
    const { connections, users, members, next: more } = await this.#promise(question, { timeout, signal, kind: "question" });
    return { connections, users, members, next: more };
  }

  /**
   * subscribe has a handler get what is published to a channel, on this connection and on those that follow it: a function
   * that gets each message's data, or an object with functions for more than that.
   */
  subscribe(name, handler, { token, from } = {}) {
    let channel = this.#channels.get(name);
    if (!channel) {
      channel = new Channel(name, from);
      this.#channels.set(name, channel);
    }
    if (token !== undefined) channel.token = token;
    const subscription = new Subscription(channel, handler, () => this.#leave(channel, subscription));
    channel.subscriptions.add(subscription);
    if (channel.standing) subscription.subscribed({ channel: name, ...channel.position });
    else if (this.#state === "connected" && channel.entering === null) this.#enter(channel);
    return subscription;
  }

  /** refresh asks the token callback for a new token and hands it to the gateway in the open session. */
  async refresh() {
    const turn = this.#turn;
    const token = await this.#askForToken("refresh");
    if (turn !== this.#turn || this.#state !== "connected") return; // a new connection has a token of its own
    await this.#promise({ type: "refresh", token }, { timeout: this.#options.requestTimeout, kind: "question" });
    this.#token = token;
    if (turn === this.#turn) this.#scheduleRefresh();
  }

  // Connecting

  async #open() {
    const turn = ++this.#turn;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    try {
      const token = await this.#askForToken(this.#tokenReason);
      if (turn !== this.#turn) return;
      if (this.#tokenReason !== "connect" && token === this.#token) {
        const revoked = this.#tokenReason === "revoked";
        this.#end(revoked ? REVOKED : TOKEN_EXPIRED, `the token ${revoked ? "was revoked" : "has expired"}, and there is no other`);
        return;
      }
      this.#token = token;
    } catch (error) {
      if (turn === this.#turn) this.#lost(ABNORMAL, `no token: ${error?.message ?? error}`);
      return;
    }
    const open = this.transport === "sse" ? openEventStream : openWebSocket;
    const current = (f) => (...args) => turn === this.#turn && f(...args);
    this.#openTimer = setTimeout(current(() => this.#failed(ABNORMAL, "opening took too long")), this.#options.openTimeout);
    try {
      this.#link = open(this.#url, () => this.#token, this.#options, {
        opened: current(() => this.#opened()),
        heard: current(() => (this.#heard = now())),
        frame: current((text) => this.#receive(text)),
        closed: current((code, reason) => this.#failed(code, reason)),
      });
    } catch (error) {
      this.#failed(ABNORMAL, error.message);
    }
  }

  #opened() {
    clearTimeout(this.#openTimer);
    this.#openedAt = now();
    this.#everOpened = true;
    this.#tokenReason = "connect";
    this.#heard = now();
    this.#pinged = null;
    this.#largestSent = 0;
    this.#listenAgain(this.#options.pingInterval);
    this.#scheduleRefresh();
    this.#become("connected");
    if (this.#link === null) return; // a listener has closed it
    for (const channel of this.#channels.values()) if (channel.subscriptions.size > 0 && channel.entering === null) this.#enter(channel);
    for (const entry of this.#waiting.values()) this.#transmit(entry);
  }

  // failed is lost for a link that may never have been open.
  #failed(code, reason) {
    if (!this.#everOpened && ++this.#failures >= TRIES) {
      this.#failures = 0;
      this.#transport = (this.#transport + 1) % this.#options.transports.length;
    }
    this.#lost(code, reason);
  }

  // lost goes on after the end of a link: to the next one, or to the end of it all.
  #lost(code, reason) {
    const lasted = this.#openedAt === null ? 0 : now() - this.#openedAt;
    const wanted = code === DRAINING || this.#goaway !== undefined;
    this.#drop();
    if (code === MESSAGE_TOO_BIG) this.#rejectLargest(reason);
    this.#rejectSent();
    if (code === TOKEN_EXPIRED || code === REVOKED) {
      this.#tokenReason = code === REVOKED ? "revoked" : "expired";
      // Cookies may have been renewed meanwhile; a token that does not change cannot.
      if (typeof this.#options.token !== "function" && (code === REVOKED || this.#options.token !== undefined)) {
        this.#end(code, reason);
        return;
      }
      if (this.#options.token === undefined) this.#tokenReason = "connect";
    }
    if (this.#options.isFinal(code, reason)) {
      this.#end(code, reason);
      return;
    }
    if (lasted >= STABLE_MS) this.#attempts = 0;
    // The gateway has spread its clients over time already.
    const delay = wanted && this.#attempts === 0 ? 0 : this.#backoff(this.#attempts);
    this.#attempts += 1;
    const turn = this.#turn;
    this.#become(this.#everOpened ? "reconnecting" : "connecting", { code, reason, delay });
    if (turn === this.#turn) this.#openAfter(delay); // and no listener has done anything about it
  }

  #openAfter(delay) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      // Where there is no network there is nothing to try; the browser tells when there is.
      if (globalThis.navigator?.onLine === false) this.#openAfter(this.#options.maxDelay);
      else this.#open();
    }, delay);
  }

  // backoff is exponential with full jitter: clients that were cut off together do not come back together.
  #backoff(attempt) {
    return Math.random() * Math.min(this.#options.maxDelay, this.#options.minDelay * 2 ** Math.min(attempt, 30));
  }

  // drop lets go of the link and of everything that goes with it.
  #drop(code, reason) {
    this.#turn += 1;
    const link = this.#link;
    this.#link = null;
    this.#openedAt = null;
    for (const timer of [this.#timer, this.#openTimer, this.#goaway, this.#refreshTimer, this.#beat]) clearTimeout(timer);
    this.#timer = this.#goaway = undefined;
    for (const channel of this.#channels.values()) channel.fall();
    link?.close(code, reason);
  }

  #end(code, reason) {
    this.#drop(code, reason);
    this.#surroundings?.abort();
    this.#surroundings = null;
    for (const entry of [...this.#waiting.values()]) entry.fail(new CrossgateError("closed", "the connection was closed"));
    for (const [name, channel] of this.#channels) if (channel.subscriptions.size === 0) this.#channels.delete(name);
    this.#become("closed", { code, reason });
  }

  #become(state, more) {
    if (state === this.#state && more === undefined) return;
    this.#state = state;
    this.dispatchEvent(new ConnectionEvent("state", { state, online: globalThis.navigator?.onLine ?? true, ...more }));
  }

  // watchSurroundings looks at once when the network or the page is back, rather than at the end of a timer.
  #watchSurroundings() {
    const ended = new AbortController();
    this.#surroundings = ended;
    const listen = (target, type, f) => target?.addEventListener?.(type, f, { signal: ended.signal });
    const hurry = () => this.#hurry();
    const told = () => this.#become(this.#state, {});
    listen(globalThis, "online", () => (told(), hurry()));
    listen(globalThis, "offline", () => (told(), hurry()));
    listen(globalThis, "pageshow", hurry);
    listen(globalThis.document, "visibilitychange", () => globalThis.document.visibilityState === "visible" && hurry());
  }

  #hurry() {
    if (this.#state === "connected") this.#ping();
    else if (this.#timer !== undefined && globalThis.navigator?.onLine !== false) this.#open();
  }

  // Tokens

  async #askForToken(reason) {
    const { token } = this.#options;
    return typeof token === "function" ? await token({ reason }) : token;
  }

  #scheduleRefresh() {
    clearTimeout(this.#refreshTimer);
    const expires = typeof this.#options.token === "function" ? expiryOf(this.#token) : undefined;
    if (expires === undefined) return;
    const left = expires - Date.now();
    if (left <= 0) return; // by this clock, which may be wrong; if it is not, the gateway says so
    // Not all at once, where many got their tokens together.
    const ahead = Math.min(this.#options.refreshAhead, left / 2) * (0.5 + Math.random() / 2);
    const turn = this.#turn;
    const attempt = async () => {
      try {
        await this.refresh();
      } catch (error) {
        if (turn !== this.#turn) return;
        this.#report(error);
        const rest = expires - Date.now();
        if (rest > 1000) this.#refreshTimer = setTimeout(attempt, rest / 2);
      }
    };
    this.#refreshTimer = setTimeout(attempt, Math.min(left - ahead, LONGEST_TIMER_MS));
  }

  // Liveness: a browser does not show the WebSocket's own pings.

  #listenAgain(after) {
    clearTimeout(this.#beat);
    this.#beat = setTimeout(() => this.#listen(), after);
  }

  #listen() {
    const silence = now() - this.#heard;
    if (this.#pinged !== null && this.#heard < this.#pinged) {
      // Its close frame would not arrive either, and the browser would wait for the answer.
      this.#link.close(UNRESPONSIVE, "no answer to a ping");
      this.#lost(UNRESPONSIVE, "no answer to a ping");
    } else if (silence < this.#options.pingInterval) {
      this.#pinged = null;
      this.#listenAgain(this.#options.pingInterval - silence);
    } else {
      this.#ping();
    }
  }

  #ping() {
    if (this.#pinged !== null && this.#heard < this.#pinged) return;
    this.#pinged = now();
    this.#link.send(JSON.stringify({ id: this.#nextId++, type: "ping" }));
    this.#listenAgain(this.#options.pingTimeout);
  }

  // Requests

  #promise(frame, { timeout, signal, kind }) {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.#state === "closed") throw new CrossgateError("closed", "the connection is closed");
      if (this.#waiting.size >= this.#options.maxWaiting) throw new CrossgateError("resource_exhausted", "too many requests wait");
      const entry = this.#ask(frame, kind, resolve, (error) => reject(error));
      const aborted = () => entry.fail(signal.reason);
      signal?.addEventListener("abort", aborted, { once: true });
      let timer;
      if (timeout !== undefined && timeout !== Infinity) {
        timer = setTimeout(() => entry.fail(new CrossgateError("deadline_exceeded", "no answer came in time")), timeout);
      }
      entry.settled = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", aborted);
      };
    });
  }

  // ask sends a frame, now or once there is a connection, and calls done with the answer, or failed, when that comes.
  #ask(frame, kind, done, failed) {
    const id = frame.id ?? this.#nextId++;
    const settle = (then) => {
      if (!this.#waiting.delete(id)) return;
      clearTimeout(entry.again);
      entry.settled();
      then();
    };
    const entry = {
      kind,
      text: JSON.stringify({ id, ...frame }),
      sent: false,
      attempts: 0,
      settled() {},
      done: (answer) => settle(() => done(answer)),
      fail: (error) => settle(() => failed(error)),
    };
    this.#waiting.set(id, entry);
    if (this.#state === "connected") this.#transmit(entry);
    return entry;
  }

  #transmit(entry) {
    if (entry.sent) return;
    entry.sent = true;
    this.#link.send(entry.text);
  }

  // rejectSent ends what was sent over a link that is gone. What was not is sent over the next one, and so is, again, what
  // the gateway knows by its id.
  #rejectSent() {
    for (const entry of [...this.#waiting.values()]) {
      if (entry.kind === "delivery") {
        clearTimeout(entry.again);
        entry.sent = false;
      } else if (entry.sent) {
        entry.fail(new CrossgateError("unavailable", "the connection was lost; the message may have been handled"));
      }
    }
  }

  // rejectLargest ends the request that the gateway must have found too large: to send it again would end this way again.
  #rejectLargest(reason) {
    let largest;
    for (const entry of this.#waiting.values()) {
      if (entry.sent && entry.text.length > (largest?.text.length ?? this.#largestSent)) largest = entry;
    }
    largest?.fail(new CrossgateError("invalid_argument", reason || "the message is too large"));
  }

  #answered(entry, frame) {
    if (frame.type === "error") {
      if (entry.kind === "delivery" && TRANSIENT.has(frame.code)) {
        entry.again = setTimeout(() => {
          entry.sent = false;
          if (this.#state === "connected") this.#transmit(entry);
        }, this.#backoff(entry.attempts++));
        return;
      }
      entry.fail(new CrossgateError(frame.code, frame.message));
    } else if (frame.type === "ok" && entry.kind === "request") {
      // Queued; the reply is still to come.
    } else {
      entry.done(entry.kind === "request" ? dataOf(frame) : frame);
    }
  }

  // Frames

  #receive(text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    const entry = frame.id === undefined ? undefined : this.#waiting.get(frame.id);
    if (entry) {
      this.#answered(entry, frame);
      return;
    }
    switch (frame.type) {
      case "message":
        if (frame.channel === undefined) this.#dispatch("message", { data: dataOf(frame) });
        else this.#deliverTo(this.#channels.get(frame.channel), frame);
        break;
      case "gap":
        this.#channels.get(frame.channel)?.skip(frame);
        break;
      case "join":
      case "leave":
        this.#channels.get(frame.channel)?.tell(frame.type, frame);
        break;
      case "subscribed":
        this.#announced(frame);
        break;
      case "goaway":
        clearTimeout(this.#goaway);
        // Until then, or until the gateway closes, this connection still serves.
        this.#goaway = setTimeout(() => this.#lost(DRAINING, "the gateway is going away"), Math.min(Number(frame.reconnect_after_ms) || 0, LONGEST_TIMER_MS));
        break;
      case "bus":
        this.#dispatch("bus", { up: frame.state === "up" });
        break;
      case "error":
        if (frame.id === undefined) this.#report(new CrossgateError(frame.code, frame.message));
        break;
    }
  }

  #dispatch(type, properties) {
    this.dispatchEvent(new ConnectionEvent(type, properties));
  }

  #report(error) {
    this.#dispatch("error", { error });
  }

  #deliverTo(channel, frame) {
    if (!channel?.take(frame)) return;
    const data = dataOf(frame);
    if (channel.subscriptions.size === 0) this.#dispatch("message", { data, channel: channel.name, offset: frame.offset });
    else channel.tell("message", data, { channel: channel.name, data, offset: frame.offset });
  }

  // Channels

  // enter subscribes to a channel on this link, from where the last one left it. It tries until it is told no.
  async #enter(channel, attempt = 0) {
    const entering = channel.enter();
    const current = () => entering === channel.entering && this.#channels.get(channel.name) === channel;
    const again = () => {
      channel.timer = setTimeout(() => current() && this.#enter(channel, attempt + 1), this.#backoff(attempt));
    };
    const frame = { type: "subscribe", channel: channel.name, ...channel.position };
    if (channel.token !== undefined) {
      try {
        frame.token = typeof channel.token === "function" ? await channel.token({ channel: channel.name }) : channel.token;
      } catch (error) {
        if (current()) {
          this.#report(error);
          again();
        }
        return;
      }
      if (!current()) return;
    }
    const done = (ok) => current() && channel.stand(ok);
    const failed = (error) => {
      if (!current()) return;
      if (TRANSIENT.has(error.code)) {
        again();
        return;
      }
      if (channel.announced) {
        channel.stand(channel.announced); // it is the gateway's to give, and not the client's to ask for
        return;
      }
      this.#channels.delete(channel.name);
      if (!channel.refuse(error)) this.#report(error);
    };
    this.#ask(frame, "question", done, failed);
  }

  #leave(channel, subscription) {
    channel.subscriptions.delete(subscription);
    if (channel.subscriptions.size > 0 || this.#channels.get(channel.name) !== channel) return;
    this.#channels.delete(channel.name);
    channel.fall();
    if (this.#state === "connected") this.#ask({ type: "unsubscribe", channel: channel.name }, "question", () => {}, () => {});
  }

  // announced notes a subscription that the gateway has made by itself.
  #announced(frame) {
    let channel = this.#channels.get(frame.channel);
    if (!channel) {
      channel = new Channel(frame.channel);
      this.#channels.set(frame.channel, channel);
    }
    channel.announced = frame;
    if (channel.subscriptions.size > 0) return; // enter takes care of it
    this.#dispatch("subscribed", { channel: frame.channel, epoch: frame.epoch, offset: frame.offset });
    if (channel.position !== undefined) this.#enter(channel); // from where the last connection left it
    else channel.stand(frame);
  }
}

// Channel is what a connection knows of a channel.
class Channel {
  subscriptions = new Set();
  token = undefined;
  standing = false; // on this link
  visited = false; // on some link
  entering = null; // names the attempt to subscribe that is on
  timer = undefined;
  announced = null; // how the gateway has subscribed this link by itself

  constructor(name, from) {
    this.name = name;
    this.position = from && { epoch: from.epoch, offset: from.offset };
  }

  enter() {
    clearTimeout(this.timer);
    this.standing = false;
    this.entering = {};
    return this.entering;
  }

  // fall notes that the subscription is gone with its link.
  fall() {
    clearTimeout(this.timer);
    this.standing = false;
    this.entering = null;
    this.announced = null;
  }

  stand({ epoch, offset, recovered }) {
    const went = this.visited || this.position !== undefined;
    const lost = went && recovered !== true;
    this.standing = this.visited = true;
    this.entering = null;
    this.position = epoch === undefined ? undefined : { epoch, offset };
    this.tell("subscribed", { channel: this.name, epoch, offset, recovered: went ? !lost : undefined });
    if (lost) this.tell("gap", { channel: this.name, epoch, offset });
  }

  // take reports whether a message is for the subscriptions, and remembers that they have it. Before the subscription stands,
  // what comes will come again.
  take({ offset }) {
    if (!this.standing) return false;
    if (offset === undefined || this.position === undefined) return true;
    if (offset <= this.position.offset) return false;
    this.position.offset = offset;
    return true;
  }

  skip({ epoch, offset }) {
    if (!this.standing) return;
    this.position = { epoch, offset };
    this.tell("gap", { channel: this.name, epoch, offset });
  }

  tell(what, ...args) {
    for (const subscription of [...this.subscriptions]) subscription[what](...args);
  }

  // refuse ends all subscriptions, and reports whether one of them has somebody who is told.
  refuse(error) {
    this.fall();
    return [...this.subscriptions].map((subscription) => subscription.refused(error)).includes(true);
  }
}

/** Subscription is one handler's part of a channel. */
class Subscription {
  #channel;
  #handler;
  #leave;
  #ready = {};

  constructor(channel, handler, leave) {
    this.#channel = channel;
    this.#handler = typeof handler === "function" ? { message: handler } : handler;
    this.#leave = leave;
    /** ready resolves when the subscription stands for the first time, and rejects when it is refused. */
    this.ready = new Promise((resolve, reject) => Object.assign(this.#ready, { resolve, reject }));
    this.ready.catch(() => {}); // who does not look at it is told by the handler or the connection's error event
  }

  get channel() {
    return this.#channel.name;
  }

  /** position is where the channel was left, for `from` of a later subscription; undefined where nothing is kept. */
  get position() {
    return this.#channel.position && { ...this.#channel.position };
  }

  unsubscribe() {
    this.#ready.reject(new CrossgateError("cancelled", "unsubscribed"));
    this.#leave();
  }

  message(data, message) {
    this.#call("message", data, message);
  }

  subscribed(event) {
    this.#ready.resolve();
    this.#call("subscribed", event);
  }

  gap(event) {
    this.#call("gap", event);
  }

  join(event) {
    this.#call("join", event);
  }

  leave(event) {
    this.#call("leave", event);
  }

  refused(error) {
    this.#ready.reject(error);
    return this.#call("error", error);
  }

  // call reports whether the handler wants to know. What it throws is its own affair, as with any event listener.
  #call(name, ...args) {
    if (typeof this.#handler[name] !== "function") return false;
    try {
      this.#handler[name](...args);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
    return true;
  }
}

// Transports. Each tells of signs of life by heard, of what comes by opened, frame and closed, and after close of nothing.

function openWebSocket(url, currentToken, options, { opened, heard, frame, closed }) {
  const token = currentToken();
  const target = new URL(url);
  target.protocol = target.protocol.replace(/^http/, "ws");
  const subprotocols = [SUBPROTOCOL];
  if (token !== undefined && options.tokenQuery !== undefined) target.searchParams.set(options.tokenQuery, token);
  else if (token !== undefined) subprotocols.push(options.tokenPrefix + token);
  const socket = new options.WebSocket(target.href, subprotocols);
  socket.onopen = () => opened();
  socket.onmessage = ({ data }) => {
    heard();
    if (typeof data === "string") frame(data);
  };
  socket.onclose = ({ code, reason }) => closed(code, reason);
  socket.onerror = () => {}; // what there is to know comes with the close
  return {
    send(text) {
      if (socket.readyState === 1) socket.send(text); // or else the close is on its way here
    },
    close(code = 1000, reason = "") {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(code, reason);
    },
  };
}

// openEventStream reads server-sent events and sends by POST, through networks that let no WebSocket pass.
function openEventStream(url, currentToken, options, { opened, heard, frame, closed }) {
  const target = new URL(url);
  target.protocol = target.protocol.replace(/^ws/, "http");
  const ended = new AbortController();
  const ask = (headers, more) => {
    const token = currentToken();
    if (token !== undefined) headers.authorization = `Bearer ${token}`;
    return options.fetch(target.href, { credentials: options.credentials, cache: "no-store", signal: ended.signal, headers, ...more });
  };
  let session;
  let frames = [];
  let posting = false;
  let sequence = 0; // of the POSTs, so that one that is sent again is taken once

  const end = (code, reason) => {
    if (ended.signal.aborted) return;
    ended.abort();
    closed(code, reason);
  };
  const refused = ({ status }) => end({ 401: TOKEN_EXPIRED, 413: MESSAGE_TOO_BIG }[status] ?? ABNORMAL, `status ${status}`);
  const event = (type, data) => {
    if (ended.signal.aborted) return;
    if (type === "open") {
      session = JSON.parse(data).session;
      opened();
    } else if (type === "close") {
      const { code, reason } = JSON.parse(data);
      end(code, reason);
    } else if (type === "message") {
      frame(data);
    }
  };
  const read = async () => {
    const answer = await ask({ accept: "text/event-stream" });
    if (!answer.ok || !answer.body) {
      refused(answer);
      return;
    }
    const parse = eventParser(event);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      heard(); // also by a comment, which is the gateway's ping
      parse(value);
    }
    end(ABNORMAL, "the stream has ended");
  };
  // post sends frames, again and again where the network or a node in between loses them.
  const post = async (body) => {
    sequence += 1;
    const headers = { "content-type": "application/x-ndjson", "crossgate-session": session, "crossgate-sequence": `${sequence}` };
    for (let attempt = 0; ; attempt++) {
      let answer;
      try {
        answer = await ask({ ...headers }, { method: "POST", body });
        await answer.arrayBuffer();
      } catch (error) {
        if (attempt >= POSTS) throw error;
      }
      if (answer?.status === 202) return;
      if (answer && (attempt >= POSTS || ![429, 502, 503, 504].includes(answer.status))) {
        refused(answer);
        return;
      }
      const wait = 1000 * (Number(answer?.headers.get("retry-after")) || Math.random() * 2 ** attempt / 4);
      await new Promise((resolve) => setTimeout(resolve, Math.min(wait, options.maxDelay)));
    }
  };
  // One after the other, so that frames arrive in their order; those that wait go together.
  const drain = async () => {
    while (frames.length > 0 && !ended.signal.aborted) {
      let size = 0;
      const fit = frames.findIndex((text, i) => (size += text.length) > POST_SIZE && i > 0);
      await post(frames.splice(0, fit < 0 ? frames.length : fit).join("\n"));
    }
    posting = false;
  };
  const failed = (error) => end(ABNORMAL, error.message);
  read().catch(failed);
  return {
    send(text) {
      frames.push(text);
      if (posting) return;
      posting = true;
      queueMicrotask(() => drain().catch(failed));
    },
    close() {
      ended.abort();
    },
  };
}

// eventParser takes a stream of server-sent events in pieces (HTML, section 9.2.6).
function eventParser(event) {
  let rest = "";
  let type = "";
  let data = [];
  return (text) => {
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
      if (line === "") {
        if (data.length > 0) event(type || "message", data.join("\n"));
        type = "";
        data = [];
      } else if (name === "event") {
        type = value;
      } else if (name === "data") {
        data.push(value);
      }
    }
  };
}

// Payloads: JSON, or bytes as data_base64.

function payload(data) {
  if (data instanceof ArrayBuffer) return { data_base64: encodeBase64(new Uint8Array(data)) };
  if (ArrayBuffer.isView(data)) return { data_base64: encodeBase64(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)) };
  return { data: data === undefined ? null : data };
}

function dataOf(frame) {
  return frame.data_base64 === undefined ? frame.data : decodeBase64(frame.data_base64);
}

function encodeBase64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

function decodeBase64(text) {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

// expiryOf reads when a JWT expires, in milliseconds since 1970; undefined for what is none.
function expiryOf(token) {
  try {
    const { exp } = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    return typeof exp === "number" ? exp * 1000 : undefined;
  } catch {
    return undefined;
  }
}

// randomName works where crypto.randomUUID does not: on pages without TLS.
function randomName() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
}

// now is a clock that nobody sets.
const now = () => performance.now();
