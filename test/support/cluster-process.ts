/** A cluster in a process of its own, to be killed: `tsx cluster-process.ts DIRECTORY SETTINGS`. */

import { openCluster } from "./cluster.ts";

const [directory, settings] = process.argv.slice(2);
const cluster = await openCluster({ directory, ...JSON.parse(settings) });
console.log(cluster.coordinator.url);
