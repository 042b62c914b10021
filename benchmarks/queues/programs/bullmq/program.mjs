// BullMQ and Bull. Modes: the package. What the program is to do: see the docstring of the folder above.
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import Redis from "ioredis";

const { default: Bull, Queue, Worker } = await import(process.env.QUEUE_MODE);
const url = process.env.QUEUE_URL;
const slots = Number(process.env.QUEUE_SLOTS);
const truth = new Redis(url);
const connection = new Redis(url, { maxRetriesPerRequest: null });

async function run(number) {
  await truth.rpush("truth:started", number);
  await sleep(1000 * Number(process.env.QUEUE_SECONDS));
  while (await truth.exists("truth:hold")) await sleep(20);
  await truth.sadd("truth:finished", number);
}

async function send() {
  const queue = Queue ? new Queue("jobs", { connection }) : new Bull("jobs", url);
  for await (const line of createInterface({ input: process.stdin })) {
    await queue.add("job", { number: Number(line) }, { removeOnComplete: true });
    await truth.sadd("truth:sent", line);
  }
  process.exit(0);
}

function work() {
  const handle = (job) => run(job.data.number);
  const worker = Worker ? new Worker("jobs", handle, { connection, concurrency: slots }) : new Bull("jobs", url);
  if (!Worker) worker.process("job", slots, handle);
  process.on("SIGTERM", async () => {
    await worker.close();
    process.exit(0);
  });
}

await { send, work }[process.argv[2]]();
