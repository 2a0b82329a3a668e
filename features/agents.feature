Feature: what has to be done on many hosts

  As somebody whose app runs on more than one host
  I want agents on the hosts to do what a release needs done there, so many at a time
  So that I need not log in anywhere, and know of each host what has come of it.

  Background:
    Given version 1.0.0 of the app shop, with these services:
      | service | version |
      | search  | 1.0.0   |
    And an environment with one orchestrator
    And somebody starts the programs of the app shop

  Scenario: on every host with the label, two at a time
    Given the release of the app shop goes through these steps:
      """
      - {name: copy, command: the program copy, on: {role: web}, atOnce: 2}
      - {phase: online}
      """
    And the program copy takes until I say so
    And on the host web-1 somebody starts "golive agent --label role=web shop"
    And on the host web-2 somebody starts "golive agent --label role=web --label zone=b shop"
    And on the host web-3 somebody starts "golive agent --label role=web shop"
    And on the host db-1 somebody starts "golive agent --label role=db shop"
    When I start "golive deploy shop"
    Then the program copy has begun on 2 hosts
    When I run "golive show ROLLOUT-OF-1.0.0"
    Then the answer holds "1 copy 1.0.0 running 1 - 0 web-…, web-… (0 of 3 hosts done)"
    When I run "golive show ROLLOUT-OF-1.0.0 --hosts copy"
    Then the answer holds "web-… running - <duration> -"
    When I let the program copy end
    Then the program copy has begun on 3 hosts
    And the program copy never ran on more than 2 hosts at the same time
    When I go back to where I had started "golive deploy shop"
    Then it ends with code 0
    And the story tells "✓ copy is done on 3 hosts (<duration>)"
    And these programs were called, in whatever order:
      | program | with    | on    |
      | copy    | forward | web-1 |
      | copy    | forward | web-2 |
      | copy    | forward | web-3 |

  Scenario Outline: <need> of three hosts must succeed, and one fails
    Given the release of the app shop goes through these steps:
      """
      - {name: copy, command: the program copy, on: {role: web}, need: <need>}
      - {phase: online}
      """
    And the program copy on the host web-2 fails with "no room on the disk"
    And on the host web-1 somebody starts "golive agent --label role=web shop"
    And on the host web-2 somebody starts "golive agent --label role=web shop"
    And on the host web-3 somebody starts "golive agent --label role=web shop"
    When I run "golive deploy shop"
    Then it ends with code <code>
    When I run "golive show ROLLOUT"
    Then the answer holds these lines:
      """
      1 copy 1.0.0 <status> 1 <duration> 0 …done on 2 of 3 hosts
      copy web-1 done   0 <duration> -
      copy web-2 failed 1 <duration> …
      copy web-3 done   0 <duration> -
      """
    When I run "golive show ROLLOUT --hosts copy"
    Then the answer holds these lines:
      """
      web-2:
      no room on the disk
      """

    Examples:
      | need | code | status |
      | 2    | 0    | done   |
      | 60%  | 0    | done   |
      | 80%  | 1    | failed |

  Scenario: a retry leaves out the hosts that have succeeded
    Given the release of the app shop goes through these steps:
      """
      - {name: copy, command: the program copy, on: {role: web}}
      - {phase: online}
      """
    And the program copy on the host web-2 fails the first time with "no room on the disk"
    And on the host web-1 somebody starts "golive agent --label role=web shop"
    And on the host web-2 somebody starts "golive agent --label role=web shop"
    When I run "golive deploy shop"
    Then it ends with code 1
    And the story tells, in this order:
      """
      ✗ web-2: failed, exit code 1 after <duration>…
      web-2 | no room on the disk
      golive: hint: correct the cause, then: golive retry <id>
      """
    When I run "golive retry ROLLOUT"
    Then it ends with code 0
    And these programs were called, in whatever order:
      | program | with    | on    |
      | copy    | forward | web-1 |
      | copy    | forward | web-2 |
      | copy    | forward | web-2 |

  Scenario: no agent is there
    Given the release of the app shop goes through these steps:
      """
      - {name: copy, command: the program copy, on: {role: web}}
      - {phase: online}
      """
    When I run "golive plan shop"
    Then it ends with code 1
    And the answer holds "1 │ copy run on hosts with role=web, of which none is there - -"
    And I am told this and more:
      """
      golive: error: no agent with role=web has this release of shop 1.0.0, so copy would wait
      golive: hint: start them in a folder with this very golive.yaml: golive agent --label role=web
      """
    When I start "golive deploy shop"
    Then the story tells "→ copy runs"
    When I run "golive status"
    Then the answer holds "running: copy since <ago>, waiting: no agent with role=web has shop 1.0.0 (digest …)"
    When on the host web-1 somebody starts "golive agent --label role=web shop"
    And I go back to where I had started "golive deploy shop"
    Then it ends with code 0

  Scenario: who follows the rollout is told that no agent is there
    Given the release of the app shop goes through these steps:
      """
      - {name: copy, command: the program copy, on: {role: web}}
      - {phase: online}
      """
    When I start "golive deploy shop"
    Then the story tells "… state=waiting step=copy for=<duration>: no agent with role=web has shop 1.0.0 (digest …)"

  Scenario: an agent that is killed in the middle, and started again
    Given the release of the app shop goes through these steps:
      """
      - {name: copy, command: the program copy, on: {role: web}, retries: 1, backoff: 100ms}
      - {phase: online}
      """
    And the program copy on the host web-2 takes the first time until I say so
    And on the host web-1 somebody starts "golive agent --label role=web shop"
    And on the host web-2 somebody starts "golive agent --label role=web shop"
    When I start "golive deploy shop"
    Then the program copy has begun on 2 hosts
    When the agent web-2 is killed with SIGKILL
    And on the host web-2 somebody starts "golive agent --label role=web shop"
    Then it ends with code 0
    And the story tells, in this order:
      """
      ✗ copy has failed …
      ✗ web-2: lost…
      ✓ copy is done on 2 hosts …
      """
    And these programs were called, in whatever order:
      | program | with    | on    |
      | copy    | forward | web-1 |
      | copy    | forward | web-2 |
      | copy    | forward | web-2 |

  Scenario: an agent that is killed in the middle, where one host less is enough
    Given the release of the app shop goes through these steps:
      """
      - {name: copy, command: the program copy, on: {role: web}, need: 50%}
      - {phase: online}
      """
    And the program copy on the host web-2 takes until I say so
    And on the host web-1 somebody starts "golive agent --label role=web shop"
    And on the host web-2 somebody starts "golive agent --label role=web shop"
    When I start "golive deploy shop"
    Then the program copy has begun on 2 hosts
    When the agent web-2 is killed with SIGKILL
    And on the host web-2 somebody starts "golive agent --label role=web shop"
    Then it ends with code 0
    When I run "golive show ROLLOUT"
    Then the answer holds these lines:
      """
      1 copy 1.0.0 done 1 <duration> 0 …done on 1 of 2 hosts
      copy web-2 lost - <duration> …
      """

  @long
  Scenario: the orchestrator dies while a command runs
    Given the release of the app shop goes through these steps:
      """
      - {name: copy, command: the program copy, on: {role: web}}
      - {phase: online}
      """
    And the program copy takes until I say so
    And on the host web-1 somebody starts "golive agent --label role=web shop"
    When I start "golive deploy shop"
    Then the program copy has begun
    When the first orchestrator is killed with SIGKILL
    And I let the program copy end
    And another orchestrator is started
    Then it ends with code 0
    And these programs were called, in this order:
      | program | with    | on    |
      | copy    | forward | web-1 |

  Scenario: an agent with another manifest runs nothing
    Given the release of the app shop goes through these steps:
      """
      - {name: copy, command: the program forged, on: {role: web}}
      - {phase: online}
      """
    And on the host web-1 somebody starts "golive agent --label role=web shop"
    And version 1.0.0 of the app shop, with these services:
      | service | version |
      | search  | 1.0.0   |
    And the release of the app shop goes through these steps:
      """
      - {name: copy, command: the program copy, on: {role: web}}
      - {phase: online}
      """
    When I run "golive plan shop"
    Then it ends with code 1
    And I am told this and more:
      """
      golive: error: no agent with role=web has this release of shop 1.0.0, so copy would wait
      """
    When I start "golive deploy shop"
    Then the story tells "→ copy runs"
    When I run "golive show ROLLOUT-OF-1.0.0"
    Then the answer holds "1 copy 1.0.0 running 1 - 0 waiting: no agent with role=web has shop 1.0.0 (digest …)"
    And no program was called
    When on the host web-2 somebody starts "golive agent --label role=web shop"
    And I go back to where I had started "golive deploy shop"
    Then it ends with code 0
    And these programs were called, in this order:
      | program | with    | on    |
      | copy    | forward | web-2 |

  Scenario: a name is taken, and Ctrl-C ends an agent cleanly
    Given the release of the app shop goes through these steps:
      """
      - {name: copy, command: the program copy, on: {role: web}}
      - {phase: online}
      """
    And the program copy takes the first time until I say so
    And on the host web-1 somebody starts "golive agent --label role=web shop"
    When I run "golive agent --name web-1 --label role=web shop"
    Then it ends with code 1
    And I am told this and more:
      """
      golive: error: …another agent has this name: choose another one with --name
      """
    When I start "golive deploy shop"
    Then the program copy has begun
    When the agent web-1 gets Ctrl-C
    Then the agent web-1 ends with code 0
    And it ends with code 1
    And the story tells "✗ copy has failed …"
    When on the host web-1 somebody starts "golive agent --label role=web shop"
    And I run "golive retry ROLLOUT"
    Then it ends with code 0

  Scenario Outline: it was typed wrongly: <line>
    When I run "<line>"
    Then it ends with code 2
    And I am told:
      """
      golive: error: <error>
      golive: hint: see golive agent --help
      """

    Examples:
      | line                                              | error                                                     |
      | golive agent --label web shop                     | --label is "web", it must be KEY=VALUE, such as role=web  |
      | golive agent --label a=b --label a=c shop         | the label a is both b and c                               |
