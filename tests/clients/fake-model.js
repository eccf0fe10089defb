'use strict'
// A model server as clients know it: OpenAI's chat completions over SSE, on 127.0.0.1. It does what the last message says,
// `CALL <tool> <arguments as JSON>`, answers anything else with a few words, and remembers what it was shown.

const { createServer } = require('node:http')
const { once } = require('node:events')

/** The text of a message, whatever shape its content has. */
function textOf({ content }) {
  if (typeof content === 'string') return content
  return (content ?? []).map((part) => part.text ?? '').join('\n')
}

function answerTo({ messages, tools = [] }) {
  const last = messages.at(-1)
  const call = last.role === 'user' ? /^CALL (\w+) (\{.*\})$/m.exec(textOf(last)) : null
  // Clients also ask for a title of the conversation, without tools.
  if (call === null || !tools.some((tool) => tool.function.name === call[1]))
    return { delta: { content: 'Understood.' }, finish: 'stop' }
  const [, name, args] = call
  const id = `call_${messages.length}`
  return {
    delta: { tool_calls: [{ index: 0, id, type: 'function', function: { name, arguments: args } }] },
    finish: 'tool_calls',
  }
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
