'use strict'
// A model server as clients know it: OpenAI's chat completions over SSE, on 127.0.0.1. It does what the last message says,
// `CALL <tool> <arguments as JSON>` in any number of lines, answers anything else with a few words, and remembers what it was
// shown. `WAIT <path>` has it think until somebody writes to that FIFO.

const { createServer } = require('node:http')
const { once } = require('node:events')
const { readFile } = require('node:fs/promises')

/** The text of a message, whatever shape its content has. */
function textOf({ content }) {
  if (typeof content === 'string') return content
  return (content ?? []).map((part) => part.text ?? '').join('\n')
}

function answerTo({ messages, tools = [] }) {
  const last = messages.at(-1)
  const said = last.role === 'user' ? [...textOf(last).matchAll(/^CALL (\w+) (\{.*\})$/gm)] : []
  // Clients also ask for a title of the conversation, without tools.
  const calls = said.filter(([, name]) => tools.some((tool) => tool.function.name === name))
  if (calls.length === 0) return { delta: { content: 'Understood.' }, finish: 'stop' }
  const toCall = ([, name, args], index) => {
    const id = `call_${messages.length}_${index}`
    return { index, id, type: 'function', function: { name, arguments: args } }
  }
  return { delta: { tool_calls: calls.map(toCall) }, finish: 'tool_calls' }
}

async function bodyOf(request) {
  let body = ''
  for await (const chunk of request.setEncoding('utf8')) body += chunk
  return JSON.parse(body)
}

/** Starts the server. `seen` grows by one list of `{ role, text }` per request. */
async function fakeModel() {
  const seen = []
  const server = createServer(async (request, response) => {
    if (request.method !== 'POST') return response.writeHead(404).end()
    const body = await bodyOf(request)
    const { messages, model } = body
    seen.push(messages.map((message) => ({ role: message.role, text: textOf(message) })))
    const [, thought] = /^WAIT (\S+)$/m.exec(textOf(messages.at(-1))) ?? []
    if (thought !== undefined) await readFile(thought)
    const { delta, finish } = answerTo(body)
    const chunk = (choice) => ({ id: 'x', object: 'chat.completion.chunk', created: 0, model, choices: [choice] })
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const frames = [
      chunk({ index: 0, delta: { role: 'assistant', ...delta }, finish_reason: null }),
      {
        ...chunk({ index: 0, delta: {}, finish_reason: finish }),
        usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
      },
    ]
    for (const frame of frames) response.write(`data: ${JSON.stringify(frame)}\n\n`)
    response.end('data: [DONE]\n\n')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { seen, url: `http://127.0.0.1:${server.address().port}/v1`, close: () => server.close() }
}

module.exports = { fakeModel }
