// Serves the page at a free port of loopback, opens it in Chromium with a WAV file as microphone,
// and writes out what the page shows. Standard input: JSON of {chromium, microphone, until,
// patienceMs, session}; `until` are words that a final has to hold, `session` is what the page
// gets from its backend.

import { build } from "esbuild";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { json } from "node:stream/consumers";
import { chromium } from "playwright-core";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const asked = await json(process.stdin);

async function bundle() {
  const entryPoints = [here("page.js")];
  const { outputFiles } = await build({ entryPoints, bundle: true, write: false });
  return outputFiles[0].contents;
}

async function serve() {
  const answers = {
    "/": ["text/html", await readFile(here("page.html"))],
    "/page.js": ["text/javascript", await bundle()],
    "/session": ["application/json", JSON.stringify(asked.session)],
  };
  const server = createServer((request, response) => {
    const [type, body] = answers[request.url] ?? [];
    response.writeHead(body ? 200 : 404, { "content-type": type ?? "text/plain" }).end(body);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

function open(home) {
  return chromium.launchPersistentContext(join(home, "profile"), {
    executablePath: asked.chromium,
    // So that nothing of it stays with whoever runs this.
    env: { PATH: process.env.PATH, HOME: home, TMPDIR: home },
    args: [
      "--use-fake-device-for-media-stream",
      "--use-fake-ui-for-media-stream",
      `--use-file-for-fake-audio-capture=${asked.microphone}`,
      "--no-proxy-server",
      "--no-sandbox",
      "--no-first-run",
      "--disable-gpu",
      "--disable-quic",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

async function hear(page) {
  await page.click("#speak");
  const heard = page.locator("#finals li", { hasText: asked.until });
  const refused = page.locator("#errors li");
  // Whichever comes first; when nothing does, what the page shows by then is the report.
  await heard.or(refused).first().waitFor({ timeout: asked.patienceMs }).catch(() => {});
  const sessionId = await page.title();
  await page.click("#stop");
  await page.waitForFunction(() => document.title === "closed", null, { timeout: asked.patienceMs });
  const finals = await page.locator("#finals li").allTextContents();
  const userAgent = await page.evaluate(() => navigator.userAgent);
  return { userAgent, sessionId, finals, errors: await refused.allTextContents() };
}

const home = await mkdtemp(join(tmpdir(), "stapes-browser-"));
const server = await serve();
try {
  const context = await open(home);
  try {
    const page = context.pages()[0] ?? (await context.newPage());
    page.on("pageerror", (error) => console.error(error));
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    console.log(JSON.stringify(await hear(page)));
  } finally {
    await context.close();
  }
} finally {
  server.close();
  await rm(home, { recursive: true });
}
