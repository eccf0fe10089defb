import { execFileSync } from 'node:child_process'
import { appendFileSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import type { OutputChunk, OutputOptions } from 'outlive'
import { gate, readyFifo } from './support/guests'
import { temporaryStore } from './support/store'

const store = temporaryStore()
const tasks = store.registry({ maxRunning: 100 })

async function ended(command: string, options?: Parameters<typeof tasks.spawn>[1]): Promise<string> {
  const id = await tasks.spawn(command, options)
  await tasks.wait(id)
  return id
}

/** Pages from 0 to the end of a finished task, each page checked on the way. */
function pages(id: string, options: OutputOptions = {}): OutputChunk[] {
  const all: OutputChunk[] = []
  for (let from = 0; all.at(-1)?.eof !== true; from = all.at(-1)?.nextOffset ?? 0) {
    const page = tasks.output(id, { ...options, from })
    expect(page.from).toBe(from)
    expect(page.eof || page.nextOffset > page.from).toBe(true)
    all.push(page)
  }
  return all
}

const text = (chunks: OutputChunk[]) => chunks.map((chunk) => chunk.text).join('')

describe('a preview', () => {
  test('shows standard output beside 300 bytes of errors, and errors beside output', async () => {
    // O3
    const loud = await ended("head -c 300 /dev/zero | tr '\\0' e >&2; echo from stdout")
    expect(tasks.status(loud, { previewBytes: 300 })?.outputPreview).toContain('from stdout')
    const chatty = await ended("head -c 300 /dev/zero | tr '\\0' o; echo from stderr >&2")
    expect(tasks.status(chatty, { previewBytes: 300 })?.outputPreview).toContain('from stderr')
  })

  test('has no replacement character that the command did not write, wherever it is cut', async () => {
    // O4
    const id = await ended("printf 'aé漢🦀%.0s' {1..200}; printf 'aé漢🦀%.0s' {1..200} >&2")
    for (let previewBytes = 0; previewBytes < 120; previewBytes++) {
      const preview = tasks.status(id, { previewBytes })?.outputPreview ?? '\ufffd'
      expect(preview).not.toContain('\ufffd')
      expect(Buffer.byteLength(preview)).toBeLessThanOrEqual(previewBytes + 1)
    }
  })

  test('is the same before and after a restart', async () => {
    // O6
    const id = await ended('seq 3000; seq 3000 >&2; exit 1')
    const before = tasks.status(id)
    const other = store.registry()
    expect(other.status(id)).toEqual(before)
    other.detach()
  })

  test('says whether there is more, and whole lines where one starts near', async () => {
    const id = await ended('seq 10000')
    const { outputPreview, outputTruncated } = tasks.status(id, { previewBytes: 100 }) ?? {}
    expect(outputTruncated).toBe(true)
    expect(outputPreview?.split('\n')[0]).toMatch(/^99\d\d$|^10000$/)
    const whole = await ended('echo all of it')
    expect(tasks.status(whole)).toMatchObject({ outputPreview: 'all of it\n', outputTruncated: false })
  })

  test('of a 1 GB log costs what that of a 1 KB log costs', async () => {
    // O8
    const small = await ended("head -c 6000 /dev/zero | tr '\\0' x")
    const large = await ended('truncate -s 1G "/proc/self/fd/1"; seq 2000', { maxOutputBytes: 0 })
    expect(tasks.status(large)?.stdoutBytes).toBeGreaterThan(2 ** 30)
    const time = (id: string) => {
      const began = process.hrtime.bigint()
      for (let i = 0; i < 300; i++) tasks.status(id)
      return Number(process.hrtime.bigint() - began) / 300e3
    }
    const rounds = Array.from({ length: 5 }, () => ({ small: time(small), large: time(large) }))
    const least = (of: 'small' | 'large') => Math.min(...rounds.map((round) => round[of]))
    // Reading it all would cost thousands of times as much.
    expect(least('large')).toBeLessThan(10 * least('small') + 200)
  })
})

describe('merged streams', () => {
  test('stand in the order in which the command wrote them', async () => {
    // O5
    const id = await ended('for i in {1..200}; do echo out $i; echo err $i >&2; done', { stderr: 'merge' })
    const expected = Array.from({ length: 200 }, (_, i) => `out ${i + 1}\nerr ${i + 1}\n`).join('')
    expect(tasks.output(id).text).toBe(expected)
    expect(tasks.status(id)).toMatchObject({ stderrPath: null, stderrBytes: 0, stdoutBytes: expected.length })
    expect(tasks.output(id, { stream: 'stderr' })).toMatchObject({ text: '', totalBytes: 0, eof: true })
  })
})

describe('paging', () => {
  test('gives every byte once, at any page size, and never half a character', async () => {
    // O4 O7
    const id = await ended("printf 'aé漢🦀\\n%.0s' {1..500}")
    const expected = 'aé漢🦀\n'.repeat(500)
    for (const maxBytes of [1, 2, 3, 5, 64, 1000, 65536]) {
      expect(text(pages(id, { maxBytes }))).toBe(expected)
    }
  })

  test('goes on where it stopped while the file grows', async () => {
    // O7
    const [ready, go] = [readyFifo(store), gate(store)]
    const id = await tasks.spawn(`echo first; echo up > ${ready.path}; read _ < ${go.path}; echo second`)
    await ready.line('the first line is written')
    const first = tasks.output(id, { wholeLines: true })
    expect(first).toMatchObject({ text: 'first\n', nextOffset: 6, eof: false })
    expect(tasks.output(id, { from: first.nextOffset })).toMatchObject({ text: '', from: 6, nextOffset: 6, eof: false })
    go.open()
    await tasks.wait(id)
    expect(tasks.output(id, { from: first.nextOffset })).toMatchObject({ text: 'second\n', totalBytes: 13, eof: true })
    expect(tasks.output(id, { from: -7 }).text).toBe('second\n')
  })

  test('shows NUL bytes, invalid UTF-8, and a last line without its newline as they are', async () => {
    // O9
    const id = await ended("printf 'a\\0b\\377c\\303'; printf end >&2")
    expect(text(pages(id))).toBe('a\0b\ufffdc\ufffd')
    expect(text(pages(id, { stream: 'stderr' }))).toBe('end')
    expect(tasks.status(id)?.outputPreview).toBe('a\0b\ufffdc\ufffd\nend')
  })

  test('reads a single line of 100 MB in pieces', async () => {
    // O9
    const id = await ended("head -c 100000000 /dev/zero | tr '\\0' x")
    expect(tasks.status(id)?.stdoutBytes).toBe(100_000_000)
    const piece = tasks.output(id, { from: 50_000_000, maxBytes: 1000, wholeLines: true })
    expect(piece.text).toBe('x'.repeat(1000))
    expect(pages(id, { maxBytes: 16 * 1024 * 1024 })).toHaveLength(6)
  })

  test('keeps output that comes after the end of the command', async () => {
    // O9
    const go = gate(store)
    const id = await ended(`(read _ < ${go.path}; echo late) & echo early`)
    expect(tasks.output(id)).toMatchObject({ text: 'early\n', eof: false })
    go.open()
    // The kill of what is left resolves when all is gone; what was written before it stays.
    while (tasks.output(id).text !== 'early\nlate\n') await new Promise((resolve) => setImmediate(resolve))
    await tasks.kill(id)
    expect(tasks.output(id)).toMatchObject({ text: 'early\nlate\n', eof: true })
  })
})

test('offsets stay valid when the middle has been dropped', async () => {
  // O7
  const limit = 64 * 1024
  const id = await ended('seq -w 1 100000', { maxOutputBytes: limit })
  const whole = execFileSync('seq', ['-w', '1', '100000'], { encoding: 'utf8', maxBuffer: 2 ** 24 })
  const status = tasks.status(id)
  expect(status?.stdoutBytes).toBe(whole.length)
  expect(status?.droppedBytes).toBeGreaterThan(whole.length - limit * 1.2)
  for (const maxBytes of [1000, 65536]) {
    const all = pages(id, { maxBytes })
    const dropped = all.reduce((sum, page) => sum + page.droppedBytes, 0)
    expect(dropped).toBe(status?.droppedBytes)
    expect(text(all)).toHaveLength(whole.length - dropped)
    const hole = all.find((page) => page.droppedBytes > 0)
    const head = text(all.slice(0, all.indexOf(hole as OutputChunk)))
    expect(whole.startsWith(head)).toBe(true)
    expect(whole.endsWith(tasks.output(id, { from: -1000 }).text)).toBe(true)
  }
})

test('the last output is what was written last, on either stream, and never before the start', async () => {
  const id = await ended('echo out; echo err >&2')
  const { stdoutPath = '', stderrPath, startedAt = 0 } = tasks.status(id) ?? {}
  const seconds = Math.ceil(startedAt / 1000)
  const lastOutputAt = (stdout: number, stderr: number) => {
    utimesSync(stdoutPath, seconds + stdout, seconds + stdout)
    utimesSync(stderrPath ?? '', seconds + stderr, seconds + stderr)
    return tasks.status(id)?.lastOutputAt
  }
  expect([lastOutputAt(1, 2), lastOutputAt(4, 3)]).toEqual([(seconds + 2) * 1000, (seconds + 4) * 1000])
  // The kernel's clock for files is some milliseconds behind.
  expect(lastOutputAt(-2, -1)).toBe(startedAt)
  expect(tasks.status(await ended('true'))?.lastOutputAt).toBeNull()
})

test('a capture file that is gone, or no file any more, does not hide the other one', async () => {
  // O3
  const id = await ended('echo out; echo err >&2')
  const { stdoutPath = '', stderrPath } = tasks.status(id) ?? {}
  rmSync(stdoutPath)
  expect(tasks.status(id)).toMatchObject({ outputPreview: 'err\n', stdoutBytes: 0, stderrBytes: 4 })
  mkdirSync(stdoutPath)
  expect(tasks.status(id)).toMatchObject({ outputPreview: 'err\n', stdoutBytes: 0, stderrBytes: 4 })
  rmSync(stderrPath ?? '')
  expect(tasks.status(id)).toMatchObject({ outputPreview: '', outputTruncated: false })
})

test('a capture file that somebody appends to or empties is shown as it is', async () => {
  const id = await ended('echo mine')
  const path = tasks.status(id)?.stdoutPath ?? ''
  appendFileSync(path, 'yours\n')
  expect(tasks.output(id).text).toBe('mine\nyours\n')
  writeFileSync(path, '')
  expect(tasks.output(id)).toMatchObject({ text: '', totalBytes: 0, eof: true })
  expect(readFileSync(path, 'utf8')).toBe('')
})
