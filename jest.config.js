/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/tests/js/**/*.test.ts'],
  // The tests name the package as its users do; a native addon and its face must be the ones in this folder.
  moduleNameMapper: { '^outlive$': '<rootDir>/index.js' },
  modulePathIgnorePatterns: ['<rootDir>/target/', '<rootDir>/npm/'],
  transform: {
    '^.+\\.ts$': ['@swc/jest', { jsc: { parser: { syntax: 'typescript' }, target: 'es2022' } }],
  },
  maxWorkers: 2,
  testTimeout: 60_000,
}
