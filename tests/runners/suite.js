// What a plugin's author has in each test file, here the same for each runner: `run.js` writes it down three times as
// modules of the kind that the runner reads. Runners differ in `test` and `afterAll`, and in what `detaches` at a file's end.
//
// Each file leaves things behind as tests do: an open registry with a subscription, a running task, a pending promise.

module.exports = ({ test, afterAll, assert, TaskRegistry, fs, detaches, waits }) => {
  const { STORE, GATES, VITEST_POOL_ID, JEST_WORKER_ID } = process.env
  const place = VITEST_POOL_ID ?? JEST_WORKER_ID ?? '1'
  const sessionId = `shared by the files of place ${place}` // files that run side by side have nothing in common
  const gate = `${GATES}/${place}`
  const left = `${gate}.left`
  let tasks
  let subscription
  if (detaches) afterAll(() => tasks.detach())
  // When `deno test` has freed what native code holds of this file, it runs what is due by then.
  if (globalThis.Deno !== undefined)
    addEventListener('unload', () => {
      setImmediate(() => {
        assert.throws(() => tasks.list(), { code: 'REGISTRY_CLOSED' })
        subscription.close()
        tasks.detach()
      })
    })

  test('a task is started, awaited, read and told', async () => {
    const tasks = new TaskRegistry({ storageDir: STORE })
    const own = `own session ${process.hrtime.bigint()}`
    const told = new Promise((resolve) => tasks.onCompletion(resolve, { sessionId: own }))
    const taskId = await tasks.spawn('echo out; exit 3', { sessionId: own, metadata: { from: ['a', 'test'] } })
    const end = await tasks.wait(taskId)
    assert.deepEqual([end.status, end.exitCode, end.metadata], ['failed', 3, { from: ['a', 'test'] }])
    assert.equal(tasks.output(taskId).text, 'out\n')
    const completion = await told
    assert.deepEqual([completion.taskId, completion.attempt], [taskId, 1])
    tasks.detach()
  })

  test('errors are Errors of this file with a code', async () => {
    const tasks = new TaskRegistry({ storageDir: STORE })
    const rejected = await tasks.spawn('true', { cwd: '/no/such/place' }).catch((error) => error)
    assert.ok(rejected instanceof Error && rejected.cause instanceof Error)
    assert.deepEqual([rejected.code, rejected.cause.code], ['CWD_NOT_FOUND', 'ENOENT'])
    const misuse = await tasks.spawn('true', { timeout: 5 }).catch((error) => error)
    assert.ok(misuse instanceof TypeError)
    assert.equal(misuse.code, 'INVALID_ARGUMENT')
    assert.throws(() => tasks.ack('id'), TypeError)
    tasks.detach()
    assert.throws(() => tasks.list(), { name: 'Error', code: 'REGISTRY_CLOSED' })
  })

  test('a completion of this file comes, and the one of the task that the file before left running', async () => {
    tasks = new TaskRegistry({ storageDir: STORE })
    const expected = fs.existsSync(left) ? ['left', 'own'] : ['own']
    const heard = []
    const all = new Promise((resolve) => {
      const hear = ({ description }) => heard.push(description) === expected.length && resolve()
      subscription = tasks.onCompletion(hear, { sessionId })
    })
    subscription.ref() // this test waits for nothing else, and would be over for `node --test`
    if (expected.includes('left')) fs.writeFileSync(gate, '\n')
    await tasks.spawn('true', { sessionId, description: 'own' })
    await all
    subscription.unref()
    assert.deepEqual(heard.sort(), expected)
    const last = await tasks.spawn(`read _ < '${gate}'`, { sessionId, description: 'left' })
    if (waits) tasks.wait(last).catch(() => {}) // a promise that is pending at the end
    fs.writeFileSync(left, '')
  })
}
