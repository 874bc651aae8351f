/** The browser client of Crossgate's WebSocket bridge. */

/** What a message carries: any JSON value, or bytes. Bytes always come as a Uint8Array. */
export type Payload = unknown;

/** Where a channel with history was left. */
export interface Position {
  epoch: string;
  offset: number;
}

/** connecting until it was open for the first time, reconnecting from its loss until it is open again. */
export type State = "connecting" | "connected" | "reconnecting" | "closed";

export type TransportName = "websocket" | "sse";

/**
 * Why a token is asked for: for a new connection, to replace the one in use before it expires, or because the gateway has
 * closed with 4001 or 4003. In the last two cases the same token again closes the connection for good.
 */
export interface TokenRequest {
  reason: "connect" | "refresh" | "expired" | "revoked";
}

/** The WebSocket constructor as browsers, Node 22, Deno, Bun and the npm package ws have it. */
export type WebSocketConstructor = new (url: string, protocols: string[]) => any;

export interface Options {
  /** The credential, or who knows it. Left out: cookies alone. */
  token?: string | ((request: TokenRequest) => string | undefined | Promise<string | undefined>);
  /** What the subprotocol that carries the token begins with: `subprotocol` in the gateway's `auth.from`. "bearer." */
  tokenPrefix?: string;
  /** The query parameter that carries the token in place of a subprotocol. */
  tokenQuery?: string;
  /** How long before a JWT expires a new one is asked for, in milliseconds; at most half of what is left. 30,000 */
  refreshAhead?: number;
  /** What to try: the next one when one has failed twice and none has ever worked. ["websocket", "sse"] */
  transports?: TransportName[];
  /** For Node before 22: that of the package ws. */
  WebSocket?: WebSocketConstructor;
  /** What the transport sse uses. */
  fetch?: typeof fetch;
  /** Whether the transport sse sends cookies to another origin. "same-origin" */
  credentials?: "omit" | "same-origin" | "include";
  /** The first delay is a random part of this, in milliseconds; it doubles from one attempt to the next. 250 */
  minDelay?: number;
  /** The longest delay between attempts, in milliseconds. 20,000 */
  maxDelay?: number;
  /** How long opening may take, in milliseconds. 10,000 */
  openTimeout?: number;
  /** How long a request waits for its reply, in milliseconds. 15,000 */
  requestTimeout?: number;
  /** The silence after which the gateway is pinged, in milliseconds. 25,000 */
  pingInterval?: number;
  /** How long it may take to answer, in milliseconds. 10,000 */
  pingTimeout?: number;
  /** What names this client to the gateway, so that a message is queued once however often it is sent; for a page that goes on with what it had to deliver before it was loaded again. A random one. */
  client?: string;
  /** The most requests that wait for an answer or for a connection. 1000 */
  maxWaiting?: number;
  /** Tells the close codes after which there is no reconnecting. isFinal */
  isFinal?: (code: number, reason: string) => boolean;
}

export interface RequestOptions {
  /** In milliseconds. */
  timeout?: number;
  signal?: AbortSignal;
}

export interface DeliverOptions extends RequestOptions {
  /** Names the message among those of the `client`. A random one. */
  id?: string;
}

export interface Delivery {
  /** The gateway had it already: an acknowledgement was lost. */
  duplicate: boolean;
  /** No replica of the service has been heard of for a while; the message waits for one. */
  unattended: boolean;
}

export interface ChannelMessage {
  channel: string;
  data: any;
  /** Where the channel keeps history, and this message is in it. */
  offset?: number;
}

export interface SubscribedEvent extends Partial<Position> {
  channel: string;
  /** Of a subscription that goes on: whether nothing is missing. */
  recovered?: boolean;
}

export interface GapEvent extends Partial<Position> {
  channel: string;
}

export interface Member {
  channel: string;
  user?: string;
  connection: string;
  info?: any;
}

export interface Handler {
  /** A message, in order and once. */
  message?(data: any, message: ChannelMessage): void;
  /** The subscription stands, for the first time or again. */
  subscribed?(event: SubscribedEvent): void;
  /** Messages are missing, and will not come: load the state afresh. */
  gap?(event: GapEvent): void;
  /** Somebody has subscribed, or is gone, where the channel tells. */
  join?(member: Member): void;
  leave?(member: Member): void;
  /** The subscription was refused, and has ended. */
  error?(error: CrossgateError): void;
}

export interface SubscribeOptions {
  /** The subscription token, or who knows it, where the channel asks for one. */
  token?: string | ((request: { channel: string }) => string | Promise<string>);
  /** Where an earlier subscription was left. */
  from?: Position;
}

export interface Subscription {
  readonly channel: string;
  /** Where the channel was left; undefined where it keeps no history. */
  readonly position: Position | undefined;
  /** Resolves when it stands for the first time, rejects when it is refused. */
  readonly ready: Promise<void>;
  unsubscribe(): void;
}

export interface PresenceOptions extends RequestOptions {
  /** The subscription token, where the channel asks for one. */
  token?: string;
  /** The most members. */
  limit?: number;
  /** What an earlier answer had as `next`. */
  next?: string;
  /** Without members. */
  countOnly?: boolean;
}

export interface Presence {
  connections: number;
  users: number;
  members?: Omit<Member, "channel">[];
  /** Asks for those that follow. */
  next?: string;
}

export interface StateEvent extends Event {
  state: State;
  /** What the browser says of the network; true where nobody does. */
  online: boolean;
  /** How the connection ended, where it has. */
  code?: number;
  reason?: string;
  /** Until the next attempt, in milliseconds. */
  delay?: number;
}

/** For this connection, its user, or everyone; or, with a channel, of a subscription that the gateway has made by itself. */
export interface MessageEvent extends Event, Partial<Pick<ChannelMessage, "channel" | "offset">> {
  data: any;
}

export interface ConnectionEventMap {
  state: StateEvent;
  message: MessageEvent;
  /** The gateway has subscribed the connection to a channel that has no handler. */
  subscribed: Event & Partial<Position> & { channel: string };
  /** The gateway has lost its Redis, or has it again. */
  bus: Event & { up: boolean };
  /** What went wrong behind the back of the caller: a refused message of `send`, a token callback that failed. */
  error: Event & { error: Error };
}

/** Opens a connection to a WebSocket route and keeps it open until it is closed for good. */
export function connect(url: string | URL, options?: Options): Connection;

/** The close codes after which connecting again would end the same way, or is not wanted. */
export function isFinal(code: number): boolean;

export class CrossgateError extends Error {
  constructor(code: string, message: string);
  /** A code of docs/websocket.md or of the service, or closed: the connection was closed for good. */
  readonly code: string;
}

export class Connection extends EventTarget {
  constructor(url: string | URL, options?: Options);
  readonly state: State;
  readonly transport: TransportName;
  /** Opens a connection that is closed. */
  connect(): void;
  /** Closes for good; what waits for an answer is rejected. */
  close(code?: number, reason?: string): void;
  /** Resolves once the connection is open, rejects once it is closed for good. */
  opened(): Promise<void>;
  /** Sends a message to the service, once there is a connection, and resolves to the data of its reply. */
  request(route: string, data?: Payload, options?: RequestOptions): Promise<any>;
  /** Sends a message that nobody answers, at most once; reports false, and drops it, when there is no connection. */
  send(route: string, data?: Payload): boolean;
  /** Sends a message to a route with `delivery: at_least_once` until the gateway has acknowledged it. */
  deliver(route: string, data?: Payload, options?: DeliverOptions): Promise<Delivery>;
  /** Who subscribes to a channel. */
  presence(channel: string, options?: PresenceOptions): Promise<Presence>;
  subscribe(channel: string, handler: ((data: any, message: ChannelMessage) => void) | Handler, options?: SubscribeOptions): Subscription;
  /** Asks the token callback for a new token and hands it to the gateway in the open session. */
  refresh(): Promise<void>;

  addEventListener<T extends keyof ConnectionEventMap>(type: T, listener: (event: ConnectionEventMap[T]) => void, options?: boolean | AddEventListenerOptions): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<T extends keyof ConnectionEventMap>(type: T, listener: (event: ConnectionEventMap[T]) => void, options?: boolean | EventListenerOptions): void;
  removeEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | EventListenerOptions): void;
}
