Feature: nothing is left behind

  As somebody who starts and stops an app many times a day
  I want that whatever golive has started is gone when golive is
  So that no forgotten program holds a port, or serves an old version.

  Background:
    Given version 1.0.0 of the app shop, with these services:
      | service | version | scripts | instances | its program                     |
      | search  | 1.0.0   | offline |           |                                 |
      | printer | 1.0.0   |         | 0         | does not end when asked to      |

  @long
  Scenario: after Ctrl-C
    When I start "golive up shop"
    Then the answer holds "shop 1.0.0 is online"
    And the child of a stubborn program of printer 1.0.0 runs
    When I press Ctrl-C
    Then golive and all that it has started are gone within 5 seconds
    And it ends with code 0

  @long
  Scenario: after Ctrl-C in the middle of a script
    Given the offline script of search 1.0.0 takes until I say so
    When I start "golive up shop"
    And the offline script of search 1.0.0 has begun
    And the child of a stubborn program of printer 1.0.0 runs
    And I press Ctrl-C
    Then golive and all that it has started are gone within 5 seconds
    And it ends with code 1
    And the story tells, in this order:
      """
      golive: error: stopped while rollout <id> was under way
      golive: hint: run golive up again: it goes on where it was
      """

  @long
  Scenario: after Ctrl-C, when services and setup services are stubborn
    Given version 1.0.0 of the app shop, with these services:
      | service | version | scripts | instances | its program                | its setup service          |
      | search  | 1.0.0   | offline |           |                            | does not end when asked to |
      | printer | 1.0.0   |         | 0         | does not end when asked to |                            |
    When I start "golive up shop"
    And the child of a stubborn program of search 1.0.0 runs
    And the child of a stubborn program of printer 1.0.0 runs
    And I press Ctrl-C
    Then golive and all that it has started are gone within 5 seconds

  @long
  Scenario: what was interrupted goes on
    Given the offline script of search 1.0.0 deals the first time with 5 items and takes until I say so
    When I start "golive up shop"
    And the offline script of search 1.0.0 has begun
    And I press Ctrl-C
    Then it ends with code 1
    When I run "golive up --once shop"
    Then it ends with code 0
    And the story tells "* going on with rollout <id>, which was under way"
    And the answer holds "shop 1.0.0 is online"

  @long
  Scenario: what was interrupted gives way to a manifest that has changed
    Given the offline script of search 1.0.0 takes until I say so
    When I start "golive up shop"
    And the offline script of search 1.0.0 has begun
    And I press Ctrl-C
    Then it ends with code 1
    Given version 1.0.1 of the app shop, with these services:
      | service | version | scripts |
      | search  | 1.0.1   | offline |
    When I run "golive up --once shop"
    Then it ends with code 0
    And the story tells "* rollout <id> of 1.0.0 was under way: 1.0.1 takes its place"
    And the answer holds "shop 1.0.1 is online"
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 1     |
      | search 1.0.1 offline | 1     |

  @long
  Scenario: a second Ctrl-C ends all at once
    When I start "golive up shop"
    Then the answer holds "shop 1.0.0 is online"
    And the child of a stubborn program of printer 1.0.0 runs
    When I press Ctrl-C
    Then the story tells "▪ stopping what was started"
    When I press Ctrl-C once more
    Then golive and all that it has started are gone at once

  @long
  Scenario: after Ctrl-C before all services have come up
    Given version 1.0.0 of the app shop, with these services:
      | service | version | its program                |
      | search  | 1.0.0   |                            |
      | printer | 1.0.0   | does not end when asked to |
    When I start "golive up shop"
    And the child of a stubborn program of printer 1.0.0 runs
    And I press Ctrl-C
    Then golive and all that it has started are gone within 5 seconds
    And it ends with code 1
    And the story tells "golive: error: stopped before the rollout had begun"

  @long
  Scenario: after golive was told to end by SIGTERM
    When I start "golive up shop"
    Then the answer holds "shop 1.0.0 is online"
    When golive gets SIGTERM
    Then golive and all that it has started are gone within 5 seconds
    And it ends with code 0

  @long
  Scenario: after the window of the terminal was closed
    When I start "golive up shop"
    Then the answer holds "shop 1.0.0 is online"
    When golive gets SIGHUP
    And golive gets SIGHUP
    Then golive and all that it has started are gone within 5 seconds
    And it ends with code 0
    And the story tells "▪ stopping what was started"

  @long
  Scenario: what a killed golive has left is stopped by the next one
    When I start "golive up shop"
    Then the answer holds "shop 1.0.0 is online"
    And the child of a stubborn program of printer 1.0.0 runs
    When golive gets SIGKILL
    Then it is gone
    And the stubborn program of printer 1.0.0 runs
    When I start "golive up --once shop"
    Then it ends with code 0
    And the story tells "▪ stopping what an earlier golive up has left: …printer (process group <number>)…"
    And all that golive has started is gone

  @long
  Scenario: what a step has left behind is stopped, and that is said
    Given the release of the app shop goes through these steps:
      """
      - {name: front-end, shell: "sleep 600 & echo it is up"}
      - {phase: offline}
      - {phase: online}
      """
    When I run "golive up --once shop"
    Then it ends with code 0
    And the story tells, in this order:
      """
      front-end | it is up
      ✓ front-end is done on 1 host: 1 process that it had left behind was stopped (sleep): start what is to go on with setsid or systemd-run (<duration>)
      """

  @long
  Scenario: after a rollout that was all there was to do
    When I run "golive up --once shop"
    Then it ends with code 0
    And all that golive has started is gone

  @long
  Scenario: after a rollout that has failed
    Given the offline script of search 1.0.0 fails with "no room on the disk"
    When I run "golive up --once shop"
    Then it ends with code 1
    And all that golive has started is gone

  @long
  Scenario: when golive itself is killed
    Given version 1.0.0 of the app shop, with these services:
      | service | version | scripts |
      | stock   | 1.0.0   |         |
      | search  | 1.0.0   | offline |
    And the offline script of search 1.0.0 takes until I say so
    When I start "golive up shop"
    And the offline script of search 1.0.0 has begun
    And golive gets SIGKILL
    Then all that golive has started ends by itself

  @long
  Scenario: golive can be started again after it was killed
    Given version 1.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 1.0.0   | offline |
    When I start "golive up shop"
    Then the answer holds "shop 1.0.0 is online"
    When golive gets SIGKILL
    Then all that golive has started ends by itself
    When I run "golive status"
    Then it ends with code 1
    And the story tells "golive: error: no bus is named, and no golive up runs for this folder"
    When I run "golive up --once shop"
    Then it ends with code 0
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 1     |
