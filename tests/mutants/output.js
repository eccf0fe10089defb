'use strict'
// Promises about captured output.

const { cargo, jest } = require('./tests.js')

module.exports = [
  {
    promise: 'O1: what is written into the hole goes too',
    file: 'supervisor/src/output.rs',
    find: '.or_else(|| capture.refilled(limit))',
    replace: '.or_else(|| capture.refilled(limit).filter(|_| false))',
    test: cargo('--test', 'supervisor', 'written_into_the_hole'),
  },
  {
    promise: 'O1: output stays within its limit',
    file: 'supervisor/src/output.rs',
    find: '.and_then(|()| files::punch(stream, head, end));',
    replace: '.map(|()| drop((stream, head, end)));',
    test: cargo('--test', 'supervisor', 'endless_output_stays_bounded'),
  },
  {
    promise: 'O1: what nobody wrote is not shown',
    file: 'supervisor/src/output.rs',
    find: 'self.first_data().unwrap_or(self.size)',
    replace: 'self.first_data().unwrap_or(self.size) / BLOCK * BLOCK',
    test: cargo('--test', 'supervisor', 'in_its_hole_and_written_on'),
  },
  {
    promise: 'O1: a silent task wakes nobody, whatever its file takes on the disk',
    file: 'supervisor/src/output.rs',
    find: 'if after < before { 0 } else { after };',
    replace: 'after.min(before) & 0;',
    test: cargo('--test', 'supervisor', 'a_silent_task'),
  },
  {
    promise: 'O3: errors do not hide output',
    file: 'src/store/output/tail.rs',
    find: 'let for_stderr = stderr_bytes.min((budget / 2).max(budget.saturating_sub(stdout_bytes)));',
    replace: 'let for_stderr = stderr_bytes.min(budget);',
    test: jest('output', 'beside 300 bytes of errors'),
  },
  {
    promise: 'O4: characters are not cut',
    file: 'src/store/output/characters.rs',
    find: 'pub(super) fn unfinished(bytes: &[u8]) -> usize {\n',
    replace: `pub(super) fn unfinished(bytes: &[u8]) -> usize {
    if bytes.len() < usize::MAX {
        return 0;
    }
`,
    test: jest('output', 'never half a character'),
  },
  {
    promise: 'O5: merged output keeps its order',
    file: 'src/store/create.rs',
    find: 'let other = output.try_clone()',
    replace: 'let other = File::options().write(true).open(self.dir.file(names::OUTPUT))',
    test: jest('output', 'in the order in which the command wrote'),
  },
  {
    promise: 'O6: a preview does not change with a restart',
    file: 'src/registry/snapshot.rs',
    find: 'preview(entry, preview_bytes)',
    replace: 'preview(entry, if entry.command.is_some() { preview_bytes } else { preview_bytes / 2 })',
    test: jest('output', 'same before and after a restart'),
  },
  {
    promise: 'O7: what was dropped is skipped',
    file: 'src/store/output/dropped.rs',
    find: '(from.min(self.len()), to.min(self.len()))',
    replace: '(from.min(self.len()), to.min(from).min(self.len()))',
    test: jest('output', 'offsets stay valid'),
  },
  {
    promise: 'O8: a preview reads what it shows',
    file: 'src/store/output/tail.rs',
    find: '        let mut bytes = self.read(read_from, self.len())?;',
    replace: '        let mut bytes = self.read(0, self.len())?.split_off(read_from as usize);',
    test: jest('output', 'of a 1 GB log'),
  },
  {
    promise: 'O9: NUL bytes are output',
    file: 'src/store/output/page.rs',
    find: 'String::from_utf8_lossy(&bytes[skip..end]).into_owned();',
    replace: 'String::from_utf8_lossy(&bytes[skip..end]).replace(\'\\0\', "");',
    test: jest('output', 'shows NUL bytes'),
  },
]
