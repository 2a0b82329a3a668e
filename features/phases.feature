Feature: a deployment phase by phase

  As somebody whose upgrade has a downtime of its own, such as a server that is stopped by hand
  I want to run it in parts, and to do my own work in between
  So that each part begins when I say so, and I can still go back.

  Background:
    Given version 1.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 1.0.0   |         |
    And an environment with one orchestrator
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And version 2.0.0 of the app shop, with these services:
      | service | version | scripts                 |
      | search  | 2.0.0   | before, offline, online |
    And the app shop goes live with the strategy downtime
    And somebody starts the programs of the app shop

  Scenario: before, then offline, then the rest
    Given all that the release of the app shop needs is there
    When I run "golive plan shop --phase before"
    Then it ends with code 3
    And the answer holds these lines:
      """
      plan …: shop 2.0.0, strategy downtime, 1 of 5 steps to do
      1 │ search/before      run the before script of 2.0.0  - -
      2 │ search/maintenance later: put 1.0.0 under maintenance …
      3 │ search/offline     later: run the offline script of 2.0.0 …
      4 │ search/traffic     later: move traffic from 1.0.0 to 2.0.0 …
      5 │ search/online      later: run the online script of 2.0.0 …
      stops: at the end of phase before
      To do exactly this: golive deploy shop --plan … --phase before
      """
    When I run "golive deploy shop --phase before"
    Then it ends with code 0
    And the story tells "‖ phase before has run: the rollout waits for a deploy that has it go on"
    And the answer is:
      """
      phase before of shop 2.0.0 has run: the rollout waits; go on with: golive deploy (rollout <id>)
      """
    And search answers as version 1.0.0
    And these scripts have run:
      | script              | times |
      | search 2.0.0 before | 1     |
    When I run "golive status"
    Then the answer holds these lines:
      """
      shop 2.0.0: rollout <id> held <ago>
      waits for somebody to deploy it further: phase before was the last that it was to run
      go on with: golive deploy, in the folder of shop 2.0.0
      """
    When the first orchestrator is killed with SIGKILL
    And another orchestrator is started
    And I run "golive deploy shop --phase offline --reason the-server-stands"
    Then it ends with code 0
    And search is under maintenance, to be asked again after 3 seconds
    And these scripts have run:
      | script               | times |
      | search 2.0.0 before  | 1     |
      | search 2.0.0 offline | 1     |
    When I run "golive deploy shop --phase before"
    Then it ends with code 1
    And I am told:
      """
      golive: error: rollout <id> runs to the end of phase offline as it is
      golive: hint: golive show … tells how it stands
      """
    When I run "golive plan shop"
    Then it ends with code 3
    And the answer holds these lines:
      """
      plan …: shop 2.0.0, strategy downtime, 2 of 5 steps to do
      1 │ search/traffic move traffic from 1.0.0 to 2.0.0 …
      2 │ search/online  run the online script of 2.0.0 …
      goes on: with rollout <id>, which was to run to the end of a phase
      """
    When I run "golive deploy shop"
    Then it ends with code 0
    And search answers as version 2.0.0
    And these scripts have run:
      | script               | times |
      | search 2.0.0 before  | 1     |
      | search 2.0.0 offline | 1     |
      | search 2.0.0 online  | 1     |
    When I run "golive show ROLLOUT-OF-2.0.0"
    Then the answer holds these lines:
      """
      shop 2.0.0, completed, begun <ago> by …, took <duration>
      downtime <duration>
      <date> the rollout goes on to the end of phase offline by …: the-server-stands
      <date> the rollout goes on to its end by …
      """

  Scenario: it is aborted in between
    Given I have run "golive deploy shop --phase before"
    And I have run "golive deploy shop --phase offline"
    And search is under maintenance, to be asked again after 3 seconds
    When I run "golive abort ROLLOUT-OF-2.0.0 --reason the-disk-is-broken"
    Then it ends with code 1
    And I am told this and more:
      """
      golive: error: offline scripts of rollout <id> have begun to change data, which an abort does not undo: the version before may not work on it
      """
    When I run "golive abort ROLLOUT-OF-2.0.0 --reason the-disk-is-broken --yes"
    Then it ends with code 0
    And search answers as version 1.0.0
    When I run "golive deploy shop"
    Then it ends with code 0
    And search answers as version 2.0.0

  Scenario Outline: a phase that there is not, or whose turn has not come: <line>
    When I run "<line>"
    Then it ends with code <code>
    And there is no answer
    And I am told:
      """
      golive: error: <error>
      golive: hint: <hint>
      """
    And search answers as version 1.0.0

    Examples:
      | line                                | code | error                                                                        | hint                                                       |
      | golive deploy shop --phase ofline   | 1    | there is no phase "ofline" in this release: it has before, offline, online   | golive deploy --phase before, or without --phase for all   |
      | golive plan shop --phase setup      | 1    | there is no phase "setup" in this release: it has before, offline, online    | golive deploy --phase before, or without --phase for all   |
      | golive deploy shop --phase offline  | 1    | phase offline cannot run yet: phase before has not run                       | golive deploy --phase before                               |

  Scenario: what stands before a phase belongs to its run
    Given the release of the app shop goes through these steps:
      """
      - {phase: before}
      - {traffic: maintenance-on}
      - {name: server, command: the program server, backward: true}
      - {phase: offline}
      - {name: looked, approval: Does the server stand?}
      - {phase: online}
      """
    And on the host one somebody starts "golive agent shop"
    When I run "golive deploy shop --phase before"
    Then it ends with code 0
    And no program was called
    And search answers as version 1.0.0
    When I run "golive deploy shop --phase offline"
    Then it ends with code 0
    And search is under maintenance, to be asked again after 3 seconds
    And these programs were called, in this order:
      | program | with    |
      | server  | forward |
    When I run "golive deploy shop"
    Then it ends with code 5
    When I run "golive backward shop --skip-missing --reason it-does-not-stand"
    Then it ends with code 0
    And search answers as version 1.0.0
    And these programs were called, in this order:
      | program | with     |
      | server  | forward  |
      | server  | backward |
