'use strict'
// VS Code's window in a headless Chromium, used as a person does: typing into the chat, allowing what a tool asks for, reading
// notifications, and the command palette.

const { join } = require('node:path')
const { pathToFileURL } = require('node:url')
const { eventually } = require('./support.js')

const PUPPETEER = 'puppeteer-core/lib/puppeteer/puppeteer-core.js'
/** Until a window is there, on a busy machine. */
const LOAD_MS = 120_000

/**
 * VS Code's chat is off until somebody has signed in at GitHub once, or has added a model by hand. The model is in the settings;
 * this is what VS Code remembers of the hand, and it must be there before the first start.
 */
function turnChatOn() {
  return new Promise((resolve, reject) => {
    const opened = indexedDB.open('vscode-web-state-db-global')
    opened.onupgradeneeded = () => opened.result.createObjectStore('ItemTable')
    opened.onerror = () => reject(opened.error)
    opened.onsuccess = () => {
      const transaction = opened.result.transaction('ItemTable', 'readwrite')
      transaction.objectStore('ItemTable').put('true', 'builtinChatExtensionEnablementMigration')
      transaction.oncomplete = () => resolve(opened.result.close())
    }
  })
}

/** What the window shows, as text; this runs in the page. */
function look() {
  const texts = (selector) =>
    [...document.querySelectorAll(selector)]
      .filter((node) => node.getClientRects().length > 0)
      .map((node) => node.textContent.replaceAll('\u00a0', ' '))
  return {
    model: texts('.interactive-input-part').join('\n'),
    isBusy: texts('.chat-response-loading, .interactive-input-part .codicon-stop-circle').length > 0,
    chat: texts('.interactive-list').join('\n'),
    notifications: texts('.notification-toast'),
    output: texts('.editor-instance .view-lines').join('\n'),
  }
}

/** What is shown and has this text; null when nothing has. */
async function shown(page, selector, text) {
  const found = await page.evaluateHandle(
    (candidates, wanted) =>
      [...document.querySelectorAll(candidates)].find(
        (node) => node.textContent.includes(wanted) && node.getClientRects().length > 0,
      ),
    selector,
    text,
  )
  return found.asElement()
}

/** What a person can do in the window. */
function hands(page, atModel) {
  const seen = () => page.evaluate(look)
  let turns = 0

  /** Loads the window anew, as after a crash, until its chat has our model. */
  async function load(origin, folder) {
    await page.goto(`${origin}/?folder=${encodeURIComponent(folder)}`, { timeout: LOAD_MS })
    await eventually(async () => (await seen()).model.includes('fake-1'), 'chat with our model')
  }

  /** Says something in the chat, allows its tools what they ask for, and resolves when the turn has ended. */
  async function ask(text) {
    const mark = `(turn ${++turns})`
    // By the keyboard, as everything here: a notification may lie over it, or still be moving.
    await page.focus('.interactive-input-editor :is(textarea, .native-edit-context)')
    await page.keyboard.sendCharacter(`${text}\n${mark}`)
    await page.keyboard.press('Enter')
    // Asked of the model: the window forgets what has left the screen.
    const isAnswered = (messages) =>
      messages.some((message) => message.text.includes(mark)) &&
      (!text.startsWith('CALL') || messages.at(-1).role === 'tool')
    const isOver = async () => {
      await (await shown(page, 'a.monaco-button', 'Allow in this Session'))?.press('Enter')
      return atModel.some(isAnswered) && !(await seen()).isBusy
    }
    await eventually(isOver, `end of turn ${turns}`)
  }

  /** Resolves with the notification that has this in it. */
  const notification = (part) =>
    eventually(
      async () => (await seen()).notifications.find((text) => text.includes(part)),
      `notification with "${part}"`,
    )

  /** Runs a command of the palette, and answers the input box that it opens. */
  async function runCommand(title, prompt, input) {
    await page.keyboard.press('F1')
    await page.waitForSelector('.quick-input-widget input')
    await page.keyboard.sendCharacter(title)
    await eventually(() => page.$(`.quick-input-list [aria-label^="${title}"]`), `command "${title}"`)
    await page.keyboard.press('Enter')
    await eventually(
      () =>
        page.evaluate(
          (box) => document.activeElement.closest('.quick-input-widget')?.textContent.includes(box),
          prompt,
        ),
      'input box',
    )
    await page.keyboard.sendCharacter(input)
    await page.keyboard.press('Enter')
  }

  /** Clicks a button of the notification that has this in it. */
  const press = (part, label) =>
    eventually(async () => {
      const toast = await shown(page, '.notification-toast', part)
      for (const button of (await toast?.$$('.notification-list-item-buttons-container a.monaco-button')) ?? []) {
        if ((await button.evaluate((node) => node.textContent)) !== label) continue
        await button.press('Enter')
        return true
      }
    }, `button "${label}" on "${part}"`)
  const output = (part) => eventually(async () => (await seen()).output.includes(part), `output with "${part}"`)
  const chat = (part) => eventually(async () => (await seen()).chat.includes(part), `chat with "${part}"`)

  /** Opens the list of tasks from the status bar, and clicks the one that has this in it, or a button of it. */
  async function clickTask(part, button) {
    const toTasks = '.statusbar-item:has(.codicon-server-process) a'
    await (await eventually(() => page.$(toTasks), 'tasks in the status bar')).click()
    const task = await eventually(() => shown(page, '.quick-input-list .monaco-list-row', part), `task with "${part}"`)
    await task.hover()
    await (button ? await task.$(button) : task).click()
  }
  const screenshot = (path) => page.screenshot({ path })
  return { load, ask, notification, runCommand, press, output, chat, clickTask, screenshot }
}

async function openWindow({ modules, home, browser, seen, origin }) {
  const { default: puppeteer } = await import(pathToFileURL(join(modules, PUPPETEER)).href)
  const chromium = await puppeteer.launch({
    executablePath: browser,
    args: process.getuid() === 0 ? ['--no-sandbox'] : [],
    defaultViewport: { width: 1400, height: 900 },
    userDataDir: join(home, 'chromium'),
  })
  const page = await chromium.newPage()
  let said = ''
  page.on('console', (message) => {
    said += `${message.text().slice(0, 300)}\n`
  })
  await page.goto(`${origin}/healthz`)
  await page.evaluate(turnChatOn)
  const { load, ...actions } = hands(page, seen)
  return { ...actions, load: (folder) => load(origin, folder), heard: () => said, close: () => chromium.close() }
}

module.exports = { openWindow }
