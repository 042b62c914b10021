// asynq. What the program is to do: see the docstring of the folder above.
package main

import (
	"bufio"
	"context"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

var background = context.Background()

func main() {
	address, err := asynq.ParseRedisURI(os.Getenv("QUEUE_URL"))
	check(err)
	options, err := redis.ParseURL(os.Getenv("QUEUE_URL"))
	check(err)
	truth := redis.NewClient(options)
	if os.Args[1] == "send" {
		send(asynq.NewClient(address), truth)
		return
	}
	slots, err := strconv.Atoi(os.Getenv("QUEUE_SLOTS"))
	check(err)
	seconds, err := time.ParseDuration(os.Getenv("QUEUE_SECONDS") + "s")
	check(err)
	handler := func(_ context.Context, job *asynq.Task) error { return run(truth, job.Payload(), seconds) }
	settings := asynq.Config{Concurrency: slots, Queues: map[string]int{"jobs": 1}, LogLevel: asynq.ErrorLevel}
	check(asynq.NewServer(address, settings).Run(asynq.HandlerFunc(handler)))
}

func send(client *asynq.Client, truth *redis.Client) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		_, err := client.Enqueue(asynq.NewTask("job", lines.Bytes()), asynq.Queue("jobs"))
		check(err)
		check(truth.SAdd(background, "truth:sent", lines.Text()).Err())
	}
}

func run(truth *redis.Client, number []byte, seconds time.Duration) error {
	if err := truth.RPush(background, "truth:started", number).Err(); err != nil {
		return err
	}
	time.Sleep(seconds)
	return truth.SAdd(background, "truth:finished", number).Err()
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
