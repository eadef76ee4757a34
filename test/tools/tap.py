# SPDX-License-Identifier: MIT
"""Runs a file's unit tests and tells of them in the Test Anything Protocol, which meson counts one
by one."""
import sys
import unittest


class Tap(unittest.TestResult):
    count = 0

    def line(self, good, test, note='', why=''):
        self.count += 1
        print(f'{"" if good else "not "}ok {self.count} - {test.id()}{note}')
        for text in why.splitlines():
            print('# ' + text)

    def addSuccess(self, test):
        self.line(True, test)

    def addSkip(self, test, reason):
        self.line(True, test, f' # SKIP {reason}')

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.line(False, test, why=self._exc_info_to_string(err, test))

    addError = addFailure


def main():
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules['__main__'])
    print(f'1..{suite.countTestCases()}')
    result = Tap()
    suite.run(result)
    sys.exit(bool(result.failures))
