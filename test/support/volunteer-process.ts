/**
 * A volunteer as a process, to be killed: `volunteer-process.ts URL MILLISECONDS-A-UNIT`. It joins when
 * it is told to by a first byte: starting a process takes longer than a tab that is open to join.
 */

import { once } from "node:events";

import { parameterTable } from "@swarmvit/shared/parameters";
import { connectTo } from "./cluster.ts";
import { servePaced } from "./paced-volunteer.ts";

const [url, paceMs] = process.argv.slice(2);
await once(process.stdin, "data");
process.stdin.destroy();
const volunteer = await connectTo(url, parameterTable("xxs", 2)).join();
volunteer.socket.on("disconnect", () => process.exit());
volunteer.want(2);
await servePaced(volunteer, Number(paceMs));
