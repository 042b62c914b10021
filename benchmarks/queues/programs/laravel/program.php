<?php
// Laravel's Redis queue, with the key prefix of an application. What the program is to do: see the docstring of the
// folder above. A process runs one job, as with queue:work.
error_reporting(E_ALL & ~E_DEPRECATED);
foreach (['Container', 'Redis', 'Queue'] as $package) {
    require_once "Illuminate/$package/autoload.php";
}

use Illuminate\Container\Container;
use Illuminate\Queue\RedisQueue;
use Illuminate\Redis\RedisManager;

function connected(): array
{
    $url = parse_url(getenv('QUEUE_URL'));
    $truth = new Redis();
    $truth->connect($url['host'], $url['port']);
    $server = ['host' => $url['host'], 'port' => $url['port'], 'database' => 0];
    $settings = ['default' => $server, 'options' => ['prefix' => 'laravel_database_']];
    $queue = new RedisQueue(new RedisManager(new Container(), 'phpredis', $settings), 'jobs');
    $queue->setContainer(new Container());
    return [$queue, $truth];
}

function send(): void
{
    [$queue, $truth] = connected();
    while (($line = fgets(STDIN)) !== false) {
        $number = trim($line);
        $queue->pushRaw(json_encode(['id' => $number, 'attempts' => 0, 'job' => 'job']), 'jobs');
        $truth->sAdd('truth:sent', $number);
    }
}

function run_jobs(): void
{
    [$queue, $truth] = connected();
    $stopped = false;
    pcntl_async_signals(true);
    pcntl_signal(SIGTERM, function () use (&$stopped) { $stopped = true; });
    while (!$stopped) {
        $job = $queue->pop('jobs');
        if ($job === null) {
            usleep(20000);
            continue;
        }
        $truth->rPush('truth:started', $job->getJobId());
        time_nanosleep(0, (int) (1e9 * (float) getenv('QUEUE_SECONDS')));
        $truth->sAdd('truth:finished', $job->getJobId());
        $job->delete();
    }
}

function work(): void
{
    $workers = [];
    for ($slot = 0; $slot < (int) getenv('QUEUE_SLOTS'); $slot++) {
        $workers[] = $worker = pcntl_fork();
        if ($worker === 0) {
            run_jobs();
            return;
        }
    }
    pcntl_async_signals(true);
    pcntl_signal(SIGTERM, function () use ($workers) {
        foreach ($workers as $worker) {
            posix_kill($worker, SIGTERM);
        }
    }, false);
    while (pcntl_wait($status) !== -1 || pcntl_get_last_error() === PCNTL_EINTR);
}

$argv[1] === 'send' ? send() : work();
