// Signatures of the feed: Ed25519 over the DSSE pre-authentication encoding, keys from the service's JWKS.
//
// WebCrypto does the work where it knows Ed25519. Elsewhere the arithmetic below does, with WebCrypto's SHA-512: some
// milliseconds an event. Without WebCrypto (a page that is not a secure context) nothing can be verified: `verify`
// throws, and whoever calls it must show nothing.

/** Media type under which events are signed. */
export const EVENT_TYPE = "application/cloudevents+json";
/** Media type under which snapshots are signed. */
export const SNAPSHOT_TYPE = "application/json";

/** Keys are asked for again at most this often, however many unknown key ids come by, milliseconds. */
const REFRESH_MS_MIN = 1_000;
/** Longest wait for the keys, milliseconds. */
const KEYS_MS_MAX = 4_000;

/** The keys could not be had: says nothing about the event, so ask again. */
export class KeysUnavailable extends Error {}
/** This page cannot verify anything. */
export class CannotVerify extends Error {}

/** The public keys of one service. */
export class Keyring {
  #url;
  #keys = new Map(); // kid -> (message, signature) => Promise<boolean>
  #asked = -Infinity;
  #asking = null;

  /** @param {URL|string} url where the JWKS is */
  constructor(url) { this.#url = url; }

  /**
   * Whether `payload` was signed under `type` by the key `kid`. An id that is not known has the keys fetched again.
   * @param {{kid: string, sig: string, payload: string}} signed @param {string} type
   * @throws {KeysUnavailable} where the keys cannot be fetched, {CannotVerify}
   */
  async verify({ kid, sig, payload }, type) {
    if (!globalThis.crypto?.subtle) throw new CannotVerify("this page is not a secure context: nothing can be verified");
    if (typeof kid !== "string" || typeof sig !== "string" || typeof payload !== "string") return false;
    if (!this.#keys.has(kid) && performance.now() - this.#asked >= REFRESH_MS_MIN) await (this.#asking ??= this.#fetch());
    const check = this.#keys.get(kid);
    const signature = bytesOf(sig);
    return check !== undefined && signature?.length === 64 && check(encode(type, payload), signature);
  }

  async #fetch() {
    try {
      const answer = await fetch(this.#url, { cache: "no-cache", signal: AbortSignal.timeout(KEYS_MS_MAX) });
      if (!answer.ok) throw new Error(`the service answered ${answer.status}`);
      const { keys } = await answer.json();
      const usable = keys.filter((key) => key.kty === "OKP" && key.crv === "Ed25519" && typeof key.x === "string");
      for (const key of usable) if (!this.#keys.has(key.kid)) this.#keys.set(key.kid, await verifier(key.x));
      this.#asked = performance.now();
    } catch (error) {
      throw new KeysUnavailable(`no keys: ${error.message}`);
    } finally {
      this.#asking = null;
    }
  }
}

/** DSSE pre-authentication encoding: lengths in bytes before each part. */
function encode(type, payload) {
  const text = new TextEncoder();
  const body = text.encode(payload);
  const head = text.encode(`DSSEv1 ${text.encode(type).length} ${type} ${body.length} `);
  const whole = new Uint8Array(head.length + body.length);
  whole.set(head);
  whole.set(body, head.length);
  return whole;
}

async function verifier(x) {
  const raw = bytesOf(x);
  if (raw?.length !== 32) return async () => false;
  try {
    const key = await crypto.subtle.importKey("raw", raw, { name: "Ed25519" }, false, ["verify"]);
    return (message, signature) => crypto.subtle.verify({ name: "Ed25519" }, key, signature, message);
  } catch {
    return (message, signature) => verifyHere(raw, message, signature); // this browser does not know Ed25519
  }
}

/** Base64 or base64url to bytes; null where it is neither. */
function bytesOf(text) {
  try {
    return Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  } catch {
    return null;
  }
}

// RFC 8032, section 5.1, for verification only: nothing here is secret, so nothing need take constant time.
const P = 2n ** 255n - 19n;
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
const mod = (a) => { const r = a % P; return r < 0n ? r + P : r; };
function power(base, exponent) {
  let result = 1n;
  for (let b = mod(base), e = exponent; e > 0n; e >>= 1n, b = mod(b * b)) if (e & 1n) result = mod(result * b);
  return result;
}
const invert = (a) => power(a, P - 2n);
const D = mod(-121665n * invert(121666n));
const ROOT_OF_MINUS_ONE = power(2n, (P - 1n) / 4n);
const number = (bytes) => bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
const NEUTRAL = [0n, 1n, 1n, 0n]; // X, Y, Z, T = XY/Z

function add([x1, y1, z1, t1], [x2, y2, z2, t2]) {
  const a = mod((y1 - x1) * (y2 - x2)), b = mod((y1 + x1) * (y2 + x2));
  const c = mod(2n * t1 * t2 * D), d = mod(2n * z1 * z2);
  const e = b - a, f = d - c, g = d + c, h = b + a;
  return [mod(e * f), mod(g * h), mod(f * g), mod(e * h)];
}

function times(scalar, point) {
  let result = NEUTRAL;
  for (let s = scalar, p = point; s > 0n; s >>= 1n, p = add(p, p)) if (s & 1n) result = add(result, p);
  return result;
}

/** The point that 32 bytes stand for; null where they stand for none. */
function point(bytes) {
  const value = number(bytes);
  const y = value & (2n ** 255n - 1n);
  if (y >= P) return null;
  const y2 = mod(y * y), u = mod(y2 - 1n), v = mod(D * y2 + 1n);
  let x = mod(u * power(v, 3n) * power(u * power(v, 7n), (P - 5n) / 8n));
  const vx2 = mod(v * x * x);
  if (vx2 === mod(-u)) x = mod(x * ROOT_OF_MINUS_ONE);
  else if (vx2 !== u) return null;
  const odd = value >> 255n;
  if (x === 0n && odd) return null;
  if ((x & 1n) !== odd) x = P - x;
  return [x, y, 1n, mod(x * y)];
}

const BASE_Y = mod(4n * invert(5n));
const BASE = point(Uint8Array.from({ length: 32 }, (_, i) => Number((BASE_Y >> BigInt(8 * i)) & 255n)));

/**
 * Ed25519 without the browser's: whether `signature` (64 bytes) is that of `message` under the key (32 bytes).
 * Takes some milliseconds. Needs WebCrypto's SHA-512.
 */
export async function verifyHere(key, message, signature) {
  const a = point(key), r = point(signature.subarray(0, 32)), s = number(signature.subarray(32));
  if (!a || !r || s >= ORDER) return false;
  const hashed = new Uint8Array(64 + message.length);
  hashed.set(signature.subarray(0, 32));
  hashed.set(key, 32);
  hashed.set(message, 64);
  const h = number(new Uint8Array(await crypto.subtle.digest("SHA-512", hashed))) % ORDER;
  const [x1, y1, z1] = times(s, BASE), [x2, y2, z2] = add(r, times(h, a));
  return mod(x1 * z2) === mod(x2 * z1) && mod(y1 * z2) === mod(y2 * z1);
}
