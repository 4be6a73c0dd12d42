// The reference's buses in one process, the same workload as `trunkline bench`.
//
//     node in_process.mjs bus=ee|cache mode=await|burst|lat shape=1|f4|g4 n=200000 warm=20000
//
// bus    ee: EventEmitterPubSub; cache: CachingPubSub on it, with InMemoryServerCache
// mode   await: each publish awaited before the next; burst: 1,000 at once, then awaited together;
//        lat: about 1,000 a second, for the time from publish to handler
// shape  1: one subscriber; f4: four; g4: a group of four that acknowledges
// n      measured events; warm: events before that which are not measured (a cold engine is up to
//        twice as slow, and a comparison with it would flatter the other side)
import { cpu_us, event, now, options, percentile, report, require } from './measure.mjs';
import { sleep, stamp_of, stamped_event } from './measure.mjs';

const { EventEmitterPubSub, CachingPubSub } = require('@mastra/core/events');
const { InMemoryServerCache } = require('@mastra/core/cache');

const { bus, mode, shape, n, warm } = options({
    bus: 'ee',
    mode: 'await',
    shape: '1',
    n: 200_000,
    warm: 20_000,
});
const topic = 'bench';
const burst_events = 1000;

const inner = new EventEmitterPubSub();
const pubsub = bus === 'cache' ? new CachingPubSub(inner, new InMemoryServerCache()) : inner;
const group = shape === 'g4' ? { group: 'workers' } : undefined;
const subscribers = shape === '1' ? 1 : 4;
const deliveries_per_event = shape === 'f4' ? 4 : 1;

let delivered = 0;
let expected = 0;
let all_delivered = () => {};
const latencies = [];

for (let i = 0; i < subscribers; i++) {
    await pubsub.subscribe(
        topic,
        async (received, ack) => {
            if (mode === 'lat') latencies.push(now() - stamp_of(received));
            if (group) await ack();
            if (++delivered === expected) all_delivered();
        },
        group,
    );
}

async function publish(count, first) {
    if (mode === 'lat') {
        for (let i = 0; i < count; i++) {
            await pubsub.publish(topic, stamped_event(first + i));
            await sleep(1);
        }
    } else if (mode === 'await') {
        for (let i = 0; i < count; i++) await pubsub.publish(topic, event(first + i));
    } else {
        for (let i = 0; i < count; i += burst_events) {
            const pending = [];
            for (let k = i; k < Math.min(count, i + burst_events); k++)
                pending.push(pubsub.publish(topic, event(first + k)));
            await Promise.all(pending);
        }
    }
}

async function publish_and_wait(count, first) {
    delivered = 0;
    expected = count * deliveries_per_event;
    const done = new Promise(resolve => (all_delivered = resolve));
    await publish(count, first);
    await done;
}

if (warm > 0) {
    await publish_and_wait(warm, 0);
    await sleep(50);
    latencies.length = 0;
    if (bus === 'cache') await pubsub.clearTopic(topic);
}

const cpu_before = cpu_us();
const started = now();
await publish_and_wait(n, warm);
const seconds = (now() - started) / 1e9;
const cpu = cpu_us() - cpu_before;

// A delivery too many would come late: give it the time to show up.
await sleep(10);
report({
    system: bus === 'cache' ? 'CachingPubSub' : 'EventEmitterPubSub',
    mode,
    shape,
    events: n,
    events_per_second: mode === 'lat' ? null : n / seconds,
    cpu_us_per_event: cpu / n,
    p50_us: mode === 'lat' ? percentile(latencies, 0.5) / 1e3 : null,
    p99_us: mode === 'lat' ? percentile(latencies, 0.99) / 1e3 : null,
    delivered,
    expected,
    rss_mb: process.memoryUsage().rss / 1e6,
});
process.exit(delivered === expected ? 0 : 1);
