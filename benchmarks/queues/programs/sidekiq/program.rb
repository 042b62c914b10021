# Sidekiq, which loads this file to work. What the program is to do: see the docstring of the folder above.
require "sidekiq"

Redis.silence_deprecations = true

URL = ENV.fetch("QUEUE_URL")
TRUTH = Redis.new(url: URL)
Sidekiq.configure_client { |settings| settings.redis = {url: URL} }
Sidekiq.configure_server { |settings| settings.redis = {url: URL} }

class Job
  include Sidekiq::Worker
  sidekiq_options queue: "jobs"

  def perform(number)
    TRUTH.rpush("truth:started", number)
    sleep(ENV.fetch("QUEUE_SECONDS").to_f)
    TRUTH.sadd("truth:finished", number)
  end
end

def send_jobs
  $stdin.each_line do |line|
    Job.perform_async(line.to_i)
    TRUTH.sadd("truth:sent", line.to_i)
  end
end

def work
  exec("sidekiq", "-q", "jobs", "-c", ENV.fetch("QUEUE_SLOTS"), "-r", __FILE__)
end

if $PROGRAM_NAME == __FILE__
  (ARGV.first == "send") ? send_jobs : work
end
