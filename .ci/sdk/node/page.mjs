// A browser that the Go tests drive: each line that comes in is a command, and
// each line that goes out is what came of it.
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';
import { contrast, overflow, rows } from './look.mjs';

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});

const tabs = [];

// Where a command's effect is something to wait for, the test waits for that.
const commands = {
  async open(_, options) {
    const context = await browser.newContext({ reducedMotion: 'reduce', ...options });
    context.setDefaultTimeout(Number(process.env.PATIENCE));
    const page = await context.newPage();
    const tab = { page, requests: [], problems: [] };
    page.on('request', (request) => tab.requests.push(request.url()));
    page.on('requestfailed', (request) => {
      // The page takes back a refresh when something better comes, and at its end.
      const why = request.failure().errorText;
      if (why !== 'net::ERR_ABORTED') tab.problems.push(`${why}: ${request.url()}`);
    });
    page.on('console', (message) => tab.problems.push(`${message.type()}: ${message.text()}`));
    page.on('pageerror', (error) => tab.problems.push(`pageerror: ${error}`));
    return tabs.push(tab) - 1;
  },
  async close({ page }) {
    await page.context().close();
  },
  // Where an answer has no body, Chromium shows a page of its own, and goto fails.
  async goto({ page }, url) {
    const answer = page.waitForResponse((response) => response.request().isNavigationRequest());
    await Promise.all([answer, page.goto(url).catch((err) => /RESPONSE_CODE|AUTH_CREDENTIALS/.test(err) || Promise.reject(err))]);
    return { status: (await answer).status(), text: await page.locator('body').innerText() };
  },
  async shown({ page }, selector) {
    await page.locator(selector).first().waitFor();
  },
  async gone({ page }, selector) {
    await page.locator(selector).first().waitFor({ state: 'detached' });
  },
  click: ({ page }, selector) => page.click(selector),
  async submit({ page }, selector) {
    const [response] = await Promise.all([
      page.waitForResponse((response) => response.request().method() === 'POST'),
      page.click(selector),
    ]);
    return response.status();
  },
  fill: ({ page }, selector, text) => page.fill(selector, text),
  select: ({ page }, selector, value) => page.selectOption(selector, value),
  value: ({ page }, selector) => page.inputValue(selector),
  html: ({ page }) => page.content(),
  url: ({ page }) => page.url(),
  text: ({ page }, selector) => page.locator(selector).innerText(),
  origin: ({ page }) => new URL(page.url()).origin,
  rows: ({ page }) => page.evaluate(rows),
  contrast: ({ page }) => page.evaluate(contrast),
  overflow: ({ page }) => page.evaluate(overflow, page.viewportSize().width),
  mark: ({ page }) => page.evaluate(() => void (globalThis.marked = true)),
  marked: ({ page }) => page.evaluate(() => globalThis.marked === true),
  async shot({ page }, path, fullPage) {
    await page.screenshot({ path, fullPage });
  },
  // From here on the tab's clock also goes as the test says.
  clock: ({ page }) => page.clock.install(),
  pass: ({ page }, seconds) => page.clock.runFor(seconds * 1000),
  // Without a screen neither another tab nor a minimized window hides the page: it is
  // told that one did.
  hide: ({ page }, hidden) =>
    page.evaluate((is) => {
      Object.defineProperty(document, 'hidden', { configurable: true, get: () => is });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden),
  requests: ({ requests }) => requests,
  problems: ({ problems }) => problems,
  // What the test has brought about itself.
  forgive(tab, text) {
    tab.problems = tab.problems.filter((problem) => !problem.includes(text));
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { tab, command, args } = JSON.parse(line);
  let result;
  try {
    result = { value: (await commands[command](tabs[tab], ...args)) ?? null };
  } catch (err) {
    result = { error: String(err) };
  }
  console.log(JSON.stringify(result));
}
await browser.close();
