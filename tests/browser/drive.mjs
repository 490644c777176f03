// Drives the system's Chromium for a test: one JSON command a line on standard input, one JSON answer a line on standard
// output. Windows have names; they share one profile, so they share locks, channels and storage as a person's do.
//
//   node drive.mjs DRIVER_FOLDER PROFILE_FOLDER CHROMIUM
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const [driver, profile, executablePath] = process.argv.slice(2);
const { chromium } = createRequire(`${driver}/`)("playwright-core");

/** Longest wait for one step of a page, milliseconds. */
const STEP_MS_MAX = 45_000;

const context = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  viewport: { width: 1440, height: 900 },
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
context.setDefaultTimeout(STEP_MS_MAX);
const windows = new Map();
const axe = () => readFileSync(`${driver}/node_modules/axe-core/axe.min.js`, "utf8");
const errors = []; // what any window complained of, with its name

function watched(name, page) {
  windows.set(name, page);
  page.on("console", (message) => { if (message.type() === "error") errors.push(`${name}: ${message.text()} ${message.location().url}`); });
  page.on("pageerror", (error) => errors.push(`${name}: uncaught ${error}`));
  return page;
}

const commands = {
  async open({ window, url }) { await watched(window, await context.newPage()).goto(url); },
  async go({ window, url }) { await windows.get(window).goto(url); },
  async forget() { await context.clearCookies(); },
  async empty_cache({ window }) {
    const session = await context.newCDPSession(windows.get(window));
    await session.send("Network.clearBrowserCache");
    await session.detach();
  },
  /** What is wider than the window, beside what scrolls by itself; and what axe finds. */
  async inspect({ window }) {
    const page = windows.get(window);
    const overflow = await page.evaluate(() => {
      const width = document.documentElement.clientWidth;
      if (document.documentElement.scrollWidth <= width) return [];
      const wide = [...document.body.querySelectorAll("*")].filter((one) => one.getBoundingClientRect().right > width + 1 && !one.parentElement.closest(".scroll"));
      return wide.map((one) => one.outerHTML.slice(0, 160)).slice(0, 5);
    });
    await page.evaluate(axe());
    const violations = await page.evaluate(async () => {
      const { violations } = await window.axe.run({ resultTypes: ["violations"] });
      return violations.map(({ id, impact, nodes }) => ({ id, impact, count: nodes.length, first: nodes[0].html.slice(0, 200), why: nodes[0].failureSummary.slice(0, 300) }));
    });
    return { overflow, violations };
  },
  async close({ window }) { await windows.get(window).close(); windows.delete(window); },
  async reload({ window }) { await windows.get(window).reload(); },
  /** `script` is the body of an async function of `argument`. */
  async eval({ window, script, argument }) {
    return windows.get(window).evaluate(`(async (argument) => { ${script} })(${JSON.stringify(argument ?? null)})`);
  },
  /** The same of a page that may be on its way to another: null where it went away meanwhile. */
  async ask(question) {
    try {
      return await commands.eval(question);
    } catch (error) {
      if (/Execution context was destroyed/.test(error.message)) return null;
      throw error;
    }
  },
  async fill({ window, selector, text }) { await windows.get(window).fill(selector, text); },
  /** A click as a person makes it: what is hidden or covered cannot be clicked. Waits for the page that it may lead to. */
  async click({ window, selector }) {
    const page = windows.get(window);
    await page.click(selector);
    await page.waitForLoadState("load");
  },
  async press({ window, selector, key }) { await windows.get(window).press(selector, key); },
  /** Tells a page that it is hidden, or shown again. A headless browser shows every page, so what the page can ask is set by hand. */
  async hide({ window, on }) {
    await windows.get(window).evaluate((hidden) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
      Object.defineProperty(document, "visibilityState", { configurable: true, get: () => (hidden ? "hidden" : "visible") });
      document.dispatchEvent(new Event("visibilitychange"));
    }, on);
  },
  /** Said of the address over TLS, where such cookies come from; loopback is trusted with them over http too. */
  async cookie({ url, name, value }) {
    await context.addCookies([{ url: url.replace("http:", "https:"), name, value, httpOnly: true, secure: true, sameSite: "Strict" }]);
  },
  /** What is asked for at such an address is not had, from now on or no longer. */
  async block({ pattern, on }) {
    if (on) await context.route(pattern, (route) => route.abort());
    else await context.unroute(pattern);
  },
  async offline({ on }) { await context.setOffline(on); },
  async screenshot({ window, path, width, scheme }) {
    const page = windows.get(window);
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ colorScheme: scheme });
    await page.screenshot({ path, fullPage: true });
  },
  /** What was complained of since the last time. */
  async errors() { return errors.splice(0); },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await commands[command.do](command)) ?? null };
  } catch (error) {
    answer = { error: String(error.message ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await context.close();
