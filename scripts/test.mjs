// `npm test [-- vitest arguments]`: install, build, get a browser, and run the tests.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { installAndBuild, ROOT, run } from "./install.mjs";

installAndBuild();
ensureBrowser();
const vitest = spawnSync(
  process.execPath,
  [join(ROOT, "node_modules/vitest/vitest.mjs"), "run", ...process.argv.slice(2)],
  { stdio: "inherit", cwd: ROOT },
);
process.exit(vitest.status ?? 1);

/** An installed Chrome, Edge or Chromium; else Debian's chromium where apt and root are there. */
function ensureBrowser() {
  const found = installedBrowser();
  if (found) {
    console.error(`Browser for the tests: ${found}`);
    return;
  }
  const isRoot = process.getuid?.() === 0;
  if (existsSync("/usr/bin/apt-get") && isRoot) {
    console.error("No Chrome, Edge or Chromium found: installing Debian's chromium with apt-get …");
    run("apt-get", ["update", "-qq"]);
    run("apt-get", ["install", "-y", "-qq", "--no-install-recommends", "chromium"], {
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    });
    return;
  }
  console.error(
    "The tests drive a real browser, and no Chrome, Edge or Chromium was found.\n" +
      "Install one, or set CHROME_PATH to its executable, and run npm test again.",
  );
  process.exit(1);
}

function installedBrowser() {
  const script = `import { findBrowser } from "./test/support/browser.ts"; process.stdout.write(findBrowser() ?? "");`;
  const { stdout, status, stderr } = spawnSync(
    process.execPath,
    ["--import", "tsx", "--input-type=module", "-e", script],
    { cwd: ROOT, encoding: "utf8" },
  );
  if (status !== 0) console.error(stderr);
  return status === 0 ? stdout : "";
}
