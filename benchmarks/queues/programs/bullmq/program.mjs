// BullMQ, Bull and Bee-Queue. Modes: the package. What the program is to do: see the docstring of the folder above.
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import Redis from "ioredis";

const mode = process.env.QUEUE_MODE;
const { default: Plain, Queue, Worker } = await import(mode);
const url = process.env.QUEUE_URL;
const slots = Number(process.env.QUEUE_SLOTS);
const truth = new Redis(url);
const connection = new Redis(url, { maxRetriesPerRequest: null });

async function run({ data: { number } }) {
  await truth.rpush("truth:started", number);
  await sleep(1000 * Number(process.env.QUEUE_SECONDS));
  while (await truth.exists("truth:hold")) await sleep(20);
  await truth.sadd("truth:finished", number);
}

// `work` returns what is to be closed.
const bullmq = {
  open: () => new Queue("jobs", { connection }),
  add: (queue, data) => queue.add("job", data, { removeOnComplete: true }),
  work: () => new Worker("jobs", run, { connection, concurrency: slots }),
};
const bull = {
  open: () => new Plain("jobs", url),
  add: (queue, data) => queue.add(data, { removeOnComplete: true }),
  work: (queue) => (queue.process(slots, run), queue),
};
const bee = {
  open: () => new Plain("jobs", { redis: url, removeOnSuccess: true }),
  add: (queue, data) => queue.createJob(data).save(),
  work: (queue) => (queue.process(slots, run), queue),
};
const library = { bull, "bee-queue": bee }[mode] ?? bullmq;

async function send() {
  const queue = library.open();
  for await (const line of createInterface({ input: process.stdin })) {
    await library.add(queue, { number: Number(line) });
    await truth.sadd("truth:sent", line);
  }
  process.exit(0);
}

function work() {
  const worker = library.work(library.open());
  process.on("SIGTERM", async () => {
    await worker.close();
    process.exit(0);
  });
}

await { send, work }[process.argv[2]]();
