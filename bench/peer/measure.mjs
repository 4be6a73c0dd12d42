// Shared by the programs beside it: arguments, the event, clocks, one JSON line of output.
import { createRequire } from 'node:module';

// The reference is installed under tests/interop (scripts/node.sh), not beside this file.
export const require = createRequire(
    new URL('../../tests/interop/package.json', import.meta.url),
);

// name=value arguments; an unknown name is an error.
export function options(defaults) {
    const chosen = { ...defaults };
    for (const argument of process.argv.slice(2)) {
        const [name, value] = argument.split('=');
        if (!(name in defaults) || value === undefined) {
            console.error(`unknown argument ${argument}; known: ${Object.keys(defaults).join(' ')}`);
            process.exit(2);
        }
        chosen[name] = typeof defaults[name] === 'number' ? Number(value) : value;
    }
    return chosen;
}

// Nanoseconds of the monotonic clock.
export const now = () => Number(process.hrtime.bigint());
export const cpu_us = () => {
    const used = process.cpuUsage();
    return used.user + used.system;
};
export const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

// The payload of all in-process benchmarks: a number and 100 bytes of text.
const padding = 'x'.repeat(100);
export const event = seq => ({ type: 'bench', runId: 'run-1', data: { seq, text: padding } });
// The same size, and the text begins with the time.
export const stamped_event = seq => ({
    type: 'bench',
    runId: 'run-1',
    data: { seq, text: String(now()).padStart(20, '0').padEnd(100, 'x') },
});
export const stamp_of = event => Number(event.data.text.slice(0, 20));

export function percentile(values, share) {
    if (values.length === 0) return null;
    const sorted = Float64Array.from(values).sort();
    return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

export const report = result => console.log(JSON.stringify(result));
