// Entry of Node's compute thread. A worker thread does not inherit a loader that was registered at
// run time (tests do that), so it registers the one for TypeScript itself.
import { register } from "tsx/esm/api";

register();
await import("./node-thread.ts");
