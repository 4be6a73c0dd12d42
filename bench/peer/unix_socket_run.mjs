// Measures a bus on a Unix socket whose publisher, subscribers and broker are processes of their
// own, and prints one line of JSON.
//
//     node unix_socket_run.mjs PATH SHAPE [--broker third|publisher|subscriber|external]
//         [--broker-pid PID] [--mode await|burst|latency] [--events N] [--warm N]
//         [--publisher COMMAND] [--subscriber COMMAND]
//
// PATH     of the socket; - takes a new one under /tmp
// SHAPE    one: one subscriber; fanout: four; group: a group of four that acknowledges
// broker   who is there first and so becomes broker. external: somebody already serves PATH, and
//          none of these processes may become broker; PID is whose CPU time counts, too
// mode     await: each publish awaited before the next; burst: 1,000 at once, awaited together;
//          latency: about 1,000 a second, for the time from publish to handler
// events   measured ones; warm: events before that which are not measured (a cold engine is up to
//          twice as slow)
// COMMAND  a program that plays the part in place of the reference, given role=, path= and shape=;
//          unix_socket.mjs says in its first lines what it has to answer
//
// Fails when an event is lost, repeated or changed, or when somebody else is broker.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { percentile, report, sleep } from './measure.mjs';

const subscribers_of = { one: 1, fanout: 4, group: 4 };
const brokers = ['third', 'publisher', 'subscriber', 'external'];
const modes = ['await', 'burst', 'latency'];
const poll_ms = 20;
const stalled_ms_max = 5000;
const run_ms_max = 240_000;

function fail(text) {
    console.error(text);
    process.exit(1);
}

function parse_arguments([path, shape, ...rest]) {
    const chosen = {
        broker: 'third',
        'broker-pid': 0,
        mode: 'await',
        events: 0,
        warm: 30_000,
        publisher: '',
        subscriber: '',
    };
    for (let i = 0; i < rest.length; i += 2) {
        const name = rest[i].replace(/^--/, '');
        if (!Object.hasOwn(chosen, name) || rest[i + 1] === undefined)
            fail(`unknown argument ${rest[i]}`);
        chosen[name] = typeof chosen[name] === 'number' ? Number(rest[i + 1]) : rest[i + 1];
    }
    if (!path || !Object.hasOwn(subscribers_of, shape ?? ''))
        fail('usage: unix_socket_run.mjs PATH one|fanout|group');
    if (!brokers.includes(chosen.broker)) fail(`--broker is one of ${brokers.join(' ')}`);
    if (!modes.includes(chosen.mode)) fail(`--mode is one of ${modes.join(' ')}`);
    chosen.events ||= chosen.mode === 'latency' ? 3000 : 50_000;
    return { path, shape, ...chosen };
}

const { path, shape, broker, mode, events, warm, ...more } = parse_arguments(process.argv.slice(2));
const folder = path === '-' ? mkdtempSync('/tmp/bench.') : undefined;
const socket = folder ? `${folder}/bus` : path;
process.on('exit', () => folder && rmSync(folder, { recursive: true, force: true }));

// A process that answers orders, one at a time.
class part {
    constructor(role) {
        const words = [`role=${role}`, `path=${socket}`, `shape=${shape}`];
        const program = fileURLToPath(new URL('unix_socket.mjs', import.meta.url));
        const [command, ...first] = more[role]
            ? more[role].split(' ')
            : [process.execPath, program];
        this.role = role;
        this.child = spawn(command, [...first, ...words], {
            stdio: ['pipe', 'pipe', 'inherit'],
            // Publishes that are not awaited make Node warn of listeners, which costs time.
            env: { ...process.env, NODE_NO_WARNINGS: '1' },
        });
        this.child.on('error', error => fail(`${role}: ${error.message}`));
        this.child.on('exit', (code, signal) => {
            if (!this.exiting) fail(`${role} ended with ${code ?? signal}`);
        });
        this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
    }

    async next(expected) {
        const { value } = await this.lines.next();
        const answer = JSON.parse(value ?? '{}');
        if (answer[expected] === undefined) fail(`${this.role}: ${value} instead of ${expected}`);
        return answer[expected];
    }

    ask(order, expected) {
        this.child.stdin.write(`${JSON.stringify(order)}\n`);
        return this.next(expected);
    }

    async ready() {
        const { pid, broker } = await this.next('ready');
        this.pid = pid;
        this.was_broker = broker;
    }

    exit() {
        this.exiting = true;
        const ended = new Promise(resolve => this.child.once('exit', resolve));
        this.child.stdin.write('{"exit":true}\n');
        return ended;
    }
}

// Nanoseconds of CPU time of all threads of a process; NaN where the kernel does not tell.
function cpu_ns(pid) {
    const used = thread => readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8');
    try {
        const threads = readdirSync(`/proc/${pid}/task`);
        return threads.reduce((sum, thread) => sum + Number(used(thread).split(' ')[0]), 0);
    } catch {
        return NaN;
    }
}

async function start(role) {
    const started = new part(role);
    await started.ready();
    return started;
}

const total = values => values.reduce((a, b) => a + b, 0);

async function delivered(subscribers, expected) {
    let progress = Date.now();
    let before = -1;
    for (;;) {
        const counts = await Promise.all(subscribers.map(s => s.ask({ count: true }, 'counted')));
        const count = total(counts);
        if (count !== before) progress = Date.now();
        before = count;
        if (count >= expected || Date.now() - progress > stalled_ms_max) return;
        await sleep(poll_ms);
    }
}

// Publishes `events` and waits until they are delivered; what the phase took.
async function run_phase({ publisher, subscribers, others }, phase, expected) {
    const everyone = [publisher, ...subscribers, ...others];
    for (const one of [...subscribers, ...others]) await one.ask({ go: phase }, 'armed');
    const pids = everyone.map(one => one.pid);
    if (more['broker-pid']) pids.push(more['broker-pid']);
    const cpu_before = pids.map(cpu_ns);
    const { began } = await publisher.ask({ go: phase }, 'published');
    await delivered(subscribers, expected);
    const cpu = total(pids.map((pid, i) => cpu_ns(pid) - cpu_before[i]));
    // A delivery too many would come late: give it the time to show up.
    await sleep(poll_ms);
    const results = [];
    for (const one of everyone) results.push(await one.ask({ stop: true }, 'result'));
    const received = results.slice(1, 1 + subscribers.length);
    const ended = Math.max(...received.map(result => result.last));
    return { began, ended, cpu, received, brokers: everyone.filter((_, i) => results[i].broker) };
}

setTimeout(() => fail(`not finished after ${run_ms_max / 1000} s`), run_ms_max).unref();

// Whoever is first becomes broker.
const parts = { subscribers: [], others: [] };
if (broker === 'third') parts.others.push(await start('broker'));
if (broker === 'publisher') parts.publisher = await start('publisher');
for (let i = 0; i < subscribers_of[shape]; i++) parts.subscribers.push(await start('subscriber'));
parts.publisher ??= await start('publisher');

const copies = shape === 'fanout' ? subscribers_of.fanout : 1;
if (warm > 0) {
    const warm_mode = mode === 'latency' ? 'await' : mode;
    await run_phase(parts, { events: warm, mode: warm_mode }, warm * copies);
}
const expected = events * copies;
const phase = await run_phase(parts, { events, mode }, expected);

const sums = total(phase.received.map(result => result.sum));
const wrong = total(phase.received.map(result => result.wrong));
const count = total(phase.received.map(result => result.received));
const latencies = phase.received.flatMap(result => result.latencies);
const wanted = {
    third: parts.others[0],
    publisher: parts.publisher,
    subscriber: parts.subscribers[0],
    external: undefined,
}[broker];
const actual = phase.brokers;
for (const one of [parts.publisher, ...parts.subscribers, ...parts.others]) await one.exit();

report({
    system: more.publisher || more.subscriber ? 'mixed' : 'UnixSocketPubSub',
    broker,
    mode,
    shape,
    events,
    events_per_second: mode === 'latency' ? null : events / ((phase.ended - phase.began) / 1e9),
    cpu_us_per_event: phase.cpu / 1e3 / events,
    p50_us: percentile(latencies, 0.5),
    p99_us: percentile(latencies, 0.99),
    delivered: count,
    expected,
});
if (count !== expected) fail(`delivered ${count}, expected ${expected}`);
if (wrong > 0 || sums !== (copies * events * (events - 1)) / 2)
    fail('events are not what was sent');
if (actual.length !== (wanted ? 1 : 0) || actual[0] !== wanted)
    fail(`broker is not ${broker} but ${actual.map(one => one.role).join(' ') || 'none of these'}`);
