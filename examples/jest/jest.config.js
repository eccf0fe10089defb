/** Nothing of outlive needs a setting. @type {import('jest').Config} */
module.exports = { testEnvironment: 'node' }
