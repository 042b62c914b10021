// BullMQ. Modes: the package, `bullmq` or `bullmq5`. What it is to do: see the docstring of the folder above.
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import Redis from "ioredis";

const { Queue, Worker } = await import(process.env.QUEUE_MODE || "bullmq");
const url = process.env.QUEUE_URL;
const truth = new Redis(url);
const connection = new Redis(url, { maxRetriesPerRequest: null });

async function run(number) {
  await truth.rpush("truth:started", number);
  await sleep(1000 * Number(process.env.QUEUE_SECONDS));
  while (await truth.exists("truth:hold")) await sleep(20);
  await truth.sadd("truth:finished", number);
}

async function send() {
  const queue = new Queue("jobs", { connection });
  for await (const line of createInterface({ input: process.stdin })) {
    await queue.add("job", Number(line), { removeOnComplete: true });
    await truth.sadd("truth:sent", Number(line));
  }
  process.exit(0);
}

function work() {
  const worker = new Worker("jobs", (job) => run(job.data), {
    connection,
    concurrency: Number(process.env.QUEUE_SLOTS),
  });
  process.on("SIGTERM", async () => {
    await worker.close();
    process.exit(0);
  });
}

await { send, work }[process.argv[2]]();
